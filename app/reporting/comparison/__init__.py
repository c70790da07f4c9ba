"""Compares arms: within stretches of constant shares, on every metric, and what the decision rule says of it."""
