"""Sums per unit, as SQL: of a unit's events, and of what it does step by step."""
