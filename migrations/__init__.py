"""Alembic's scripts, in the order in which they run. Start them with ``loopwise migrate``."""
