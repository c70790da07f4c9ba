"""Reports of off-policy values: estimators side by side, intervals by name, a verdict."""
