"""Experiments and their models as they are stored: configurations, versions, signed bytes, the serving version."""
