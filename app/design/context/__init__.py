"""What of the context is known, used and stored."""
