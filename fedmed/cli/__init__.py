"""The command line ``fedmed``. It is an edge: files, clocks, environment and exit codes live here.

Commands import what they need when they run, so that ``fedmed --help`` stays quick.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line and leave with its exit code (DESIGN.md section 7)."""
    from fedmed.cli.edge import run

    sys.exit(run(sys.argv[1:]))
