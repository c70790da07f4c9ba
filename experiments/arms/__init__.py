"""Comparisons of arms whose units were assigned at random."""
