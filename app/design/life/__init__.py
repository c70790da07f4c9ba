"""An experiment from its first call to its archive."""
