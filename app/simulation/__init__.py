"""Plays stated worlds, whose truth is known, and counts how often the claims of reports are right."""
