"""The parsed sources of the three packages, read once for all tests of their form."""

from __future__ import annotations

import ast
import functools
import gc
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"fedmed": ROOT, "fedmed_nodes": ROOT / "nodes", "fedmed_server": ROOT / "server"}


def source_files(package: str) -> list[Path]:
    """Every module of a package, in the order of paths."""
    return sorted((SOURCES[package] / package).rglob("*.py"))


@functools.cache
def source_trees() -> Mapping[Path, ast.Module]:
    """Every module of the packages, parsed.

    The trees live to the end of the run. Garbage collection would walk all of them again and again while
    they grow, which took several times as long as the reading: it waits, and never looks at them.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        paths = [path for package in SOURCES for path in source_files(package)]
        found = {path: ast.parse(path.read_text(encoding="utf-8"), filename=str(path)) for path in paths}
        gc.freeze()
    finally:
        if collects:
            gc.enable()
    return found
