"""Store rewards and feedback, and train models: each settled decision is learned from exactly once."""
