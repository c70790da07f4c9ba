"""What all experiments did together: the global holdout."""
