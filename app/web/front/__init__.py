"""The front of a web process: one event loop that answers what apps call all the time, with Flask behind it in threads."""
