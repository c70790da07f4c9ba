"""The documents of this feature: computed, stored as JSON, answered by the API and shown on pages."""
