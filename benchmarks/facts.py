"""What every result file says about itself: the commit, the machine, the versions, the seed, the repeats."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any


def facts(packages: Iterable[str], *, seed: int | Sequence[int], repeats: int) -> dict[str, Any]:
    """The part of a result document that says where its numbers are from.

    Args:
        packages: Installed distributions whose versions matter.
        seed: What seeds the made-up rows; several where the document has a row for each.
        repeats: How often each number was measured.
    """
    return {
        "commit": commit(Path(__file__).parent),
        "machine": {"processor": processor(), "cores": os.cpu_count(), "system": platform.platform()},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in packages},
        "seed": seed,
        "repeats": repeats,
    }


def commit(folder: Path) -> str:
    """The checked-out commit, with ``-dirty`` when files differ from it; ``unknown`` outside a checkout."""
    command = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return found.stdout.strip()


def processor() -> str:
    """Name of the processor as Linux gives it, elsewhere as Python does."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()
