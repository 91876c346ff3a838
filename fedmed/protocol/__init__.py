"""The phases of the protocol as pure state machines."""
