"""The data about a person: consent, erasure, retention."""
