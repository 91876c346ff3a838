"""Keys, signatures, sealing and the ring arithmetic of the threshold secure sum."""
