"""The wizard: defines an experiment step by step, as a draft."""
