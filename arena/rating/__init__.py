"""From battles to a leaderboard: loading, Elo, Bradley-Terry, uncertainty, tables."""
