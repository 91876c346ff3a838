"""Tables: synthetic provinces, readers, features with public bounds."""
