"""Differential privacy: clipping, exact noise, accounting."""
