"""What a policy that never ran would have been worth."""
