"""Seeded synthetic claims of four provinces, in the tables that a medical-insurance platform holds."""
