"""Requests to OpenAI-compatible endpoints: address, client, pace, refusals."""
