"""One arena.toml from plan to leaderboard: the only place where stages meet."""
