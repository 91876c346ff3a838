"""Which FedMed each province runs, as its relay last said it; kept for the operator, trusted for nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from fedmed_server.files import read_private, replace_private
from fedmed_server.home import Home

_FILE: Final = "versions.json"


def known_versions(home: Home) -> dict[str, str]:
    """Version by node name; empty before the first study."""
    path = home.path / _FILE
    if not path.exists():
        return {}
    told: Mapping[str, str] = json.loads(read_private(path))
    return {str(name): str(version) for name, version in told.items()}


def keep_versions(home: Home, told: Mapping[str, str]) -> None:
    """Keep what some nodes said; the others' last words stay.

    Args:
        home: The coordinator's home.
        told: Version by node name.
    """
    before = known_versions(home)
    now = {**before, **told}
    if now != before:
        replace_private(home.path / _FILE, json.dumps(now, ensure_ascii=False).encode())


def version_keeper(home: Home) -> Callable[[int, str], None]:
    """What a driver tells of each reply: roster point and version; only news are written."""
    members, heard = home.roster().members, dict[int, str]()

    def keep(point: int, version: str) -> None:
        if version and heard.get(point) != version:
            heard[point] = version
            keep_versions(home, {members[point - 1].name: version})

    return keep
