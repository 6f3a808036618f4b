"""A model's run on a data set: dense, BM25, a command, a reranker; and the table of runs."""
