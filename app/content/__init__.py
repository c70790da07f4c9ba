"""What a message says: templates, variables, and messages composed of parts."""
