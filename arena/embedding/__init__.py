"""Texts to vectors: providers, wire formats, prompts for queries and documents, local models."""
