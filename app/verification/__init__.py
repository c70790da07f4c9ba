"""Recomputes what the log claims: audit, replay, the policy's versions compared."""
