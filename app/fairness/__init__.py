"""Fairness and diversity: how exposure spreads, gaps between groups of people, filter bubbles, and what a bound costs."""
