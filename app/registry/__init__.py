"""What is stored of experiments and of their models: configurations, versions, signed bytes, which version serves."""
