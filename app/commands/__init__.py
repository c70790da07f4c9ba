"""The command line, and the roles that its processes run in."""
