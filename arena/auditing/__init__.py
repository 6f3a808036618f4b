"""How far a judge can be trusted: figures from its verdicts, each with its meaning."""
