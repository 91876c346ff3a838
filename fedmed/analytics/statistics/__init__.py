"""From opened sums to statistics: estimates with intervals, standardised rates, early warnings."""
