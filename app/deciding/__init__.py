"""Make one decision: find the eligible actions, compute the distribution, draw, store the row, answer."""
