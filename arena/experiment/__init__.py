"""One arena.toml from plan to log: data, runs, live judging, budgets, stopping, rejudging."""
