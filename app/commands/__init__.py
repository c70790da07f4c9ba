"""The command line, and the roles of its processes."""
