"""Deliveries: sending to webhooks, streams and polling for units, and the log of both."""
