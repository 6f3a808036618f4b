"""One arena.toml from plan to leaderboard: data, runs, live judging, budgets, estimate."""
