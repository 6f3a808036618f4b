"""Correct ratings with labels of people."""
