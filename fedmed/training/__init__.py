"""Optimiser and the baselines of a simulation."""
