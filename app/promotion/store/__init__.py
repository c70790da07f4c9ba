"""All SQL of this feature. Its functions take an open connection and never open a transaction."""
