"""The experiment folder: every file in it, its name, its reader and its writer."""
