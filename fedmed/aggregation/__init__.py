"""Secure sums: encoding, and one pair of modules a scheme."""
