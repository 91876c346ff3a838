"""What the coordinator does with opened sums: a pure fold for each kind of study, a module a kind."""
