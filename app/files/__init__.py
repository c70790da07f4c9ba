"""Logs that come and go as files, and the reports on such files."""
