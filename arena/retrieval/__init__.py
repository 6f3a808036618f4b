"""From a corpus and queries to a run: embedders, the vector cache, search."""
