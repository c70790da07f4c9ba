"""Rules that an experiment declares about what one unit may get, beside those about messages."""
