"""What pages show of this feature."""
