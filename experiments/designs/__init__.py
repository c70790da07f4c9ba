"""Before an experiment: how many units, which looks, what a bandit would do."""
