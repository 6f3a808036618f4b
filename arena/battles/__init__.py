"""Battle logs from any tool, read into columns of integer codes."""
