"""What another cap on messages would have been worth."""
