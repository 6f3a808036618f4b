"""Data sets, runs and qrels on disk, and what qrels say of a run."""
