"""Events that apps report: their shape, and storing each once."""
