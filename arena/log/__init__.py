"""The log of an experiment, which no crash can spoil."""
