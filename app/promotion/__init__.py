"""Promotion: from a verdict to what every caller gets; shipping, ramps, and the way back."""
