"""From an exhibit to a verdict: prompts, judges, the reading of replies."""
