"""Data sets, TREC runs and qrels: where they come from, how they are read, and metrics of runs."""
