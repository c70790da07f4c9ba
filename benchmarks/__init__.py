"""Speed and cost, each as a ratio against something measured beside it. Never timed tests: a number here fails nothing."""
