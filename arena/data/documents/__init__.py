"""Files of any kind, cut into the passages that models search."""
