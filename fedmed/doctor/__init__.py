"""What can be wrong with a machine, a node's home or a coordinator's home, and what mends it.

An edge, as `fedmed.cli` is: it reads files, opens one connection to the front door, and asks the machine.
What only a node or a coordinator knows joins by the entry-point group ``fedmed.doctor``.
"""
