"""Feature sets: from claims to one row a person and year, by declared definitions with public bounds."""
