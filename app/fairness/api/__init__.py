"""JSON routes of this feature."""
