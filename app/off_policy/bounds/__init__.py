"""What bounds on exposure would cost, asked of the log."""
