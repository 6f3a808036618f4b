"""Provider batch jobs: files of requests, what became of them, and what came back."""
