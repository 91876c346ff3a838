"""What runs at a province: the custodian, which alone touches rows, keys and budget, and its relay."""
