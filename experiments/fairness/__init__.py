"""Pure measures of fairness and diversity: how exposure spreads, gaps between groups of people, how their range narrows."""
