"""Loopwise's service: HTTP API, use cases and storage. Importing it does nothing."""
