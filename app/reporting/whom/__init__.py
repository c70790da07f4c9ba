"""What works for whom: what is chosen and what it earns by the values of context fields, and where arms differ."""
