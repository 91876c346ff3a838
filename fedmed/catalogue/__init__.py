"""The catalogue: what a province publishes of its data, signed, and what a federation makes of it."""
