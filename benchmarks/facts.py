"""What every result file says about itself: the commit, the machine, the versions, the seed, the repeats."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
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


def run_apart(script: str, *words: str) -> Any:
    """What a benchmark prints as JSON when it runs in a process of its own.

    Args:
        script: Its file.
        words: Its arguments.
    """
    command = [sys.executable, script, *words]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)  # noqa: S603


def peak_mib() -> float:
    """Most memory that this process ever held, MiB; getrusage would count the process that started it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (kib,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(kib) / 1024


def document_or_means(document: Mapping[str, Any], *, as_json: bool) -> str:
    """What a comparison over several seeds prints.

    Args:
        document: A result document whose ``mean`` holds a number by name.
        as_json: The whole document, for a result file; else a line for each mean, for people.
    """
    if as_json:
        return json.dumps(document, indent=1)
    return "\n".join(f"{name:30s}{value:10.4f}" for name, value in document["mean"].items())


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
