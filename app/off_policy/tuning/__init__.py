"""Searches for a better policy: many are tried on the earlier part of the log, a few are valued on the later part."""
