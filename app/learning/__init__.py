"""Rewards, feedback, and the rounds that learn from settled decisions exactly once."""
