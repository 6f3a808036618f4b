"""Battle logs of any make, read into columns of integer codes."""
