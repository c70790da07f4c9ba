"""Who may do what: API keys, users, sessions, and proofs of a unit's identity."""
