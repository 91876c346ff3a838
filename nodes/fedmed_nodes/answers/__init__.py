"""What a custodian answers to each kind of study: rows in, a bounded sum out; a module a kind."""
