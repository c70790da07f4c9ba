"""Triggers: their definition and life, matching events with them, and firing what is due."""
