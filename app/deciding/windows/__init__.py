"""What decisions know of the windows of targets on exposure."""
