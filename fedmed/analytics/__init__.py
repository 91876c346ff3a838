"""Statistics, regression and survival from secure sums: what nodes sum, what the coordinator reads."""
