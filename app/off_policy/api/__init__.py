"""JSON routes of off-policy: warm starts. Those of candidates and evaluations stand with the results."""
