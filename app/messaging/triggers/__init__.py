"""Triggers: their definition and life, matching events against them, and firing what is due."""
