"""From a study to its stages: what each round computes, how it travels, what it costs; a module a kind."""
