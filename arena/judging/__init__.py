"""Judges and all they need: prompts, chat calls, budgets, caches, replies, verdicts, the gate."""
