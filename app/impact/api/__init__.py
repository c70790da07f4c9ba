"""The JSON routes of this feature."""
