"""What runs at the coordinator: it launches studies and sees nothing but verified sums."""
