"""The definition of experiments: the configuration and its rules, drafts, the wizard, the history of changes."""
