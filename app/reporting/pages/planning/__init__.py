"""The planning step of the wizard: its typed question, and its answer in words and a figure."""
