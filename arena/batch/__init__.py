"""Provider batch jobs: requests, submission, results, and files for offline engines."""
