"""One small request to every model and judge, before an experiment."""
