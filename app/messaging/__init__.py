"""From an event to a message: triggers, firings, deliveries, webhooks, streams."""
