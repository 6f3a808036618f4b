"""Requests to OpenAI-compatible endpoints: client, rate limits, outages, errors, file API."""
