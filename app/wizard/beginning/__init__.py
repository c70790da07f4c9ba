"""What a draft begins with: a copy of an experiment, or a template."""
