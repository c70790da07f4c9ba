"""All experiments together: KPIs, the global holdout, what was decided."""
