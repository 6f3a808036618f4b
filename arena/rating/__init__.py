"""From battles to a leaderboard: Elo, Bradley-Terry, uncertainty, people's labels, tables."""
