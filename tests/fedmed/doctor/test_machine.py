from __future__ import annotations

import pytest

from fedmed.doctor import machine
from fedmed.errors import ConfigError


def test_a_library_that_cannot_be_loaded_is_a_finding() -> None:
    def look() -> str:
        raise ImportError("no", name="tenseal")

    found = machine._installed("SEAL", look, why="sums would be wrong", mend="install it")
    assert (found.ok, found.detail) == (False, "tenseal cannot be loaded")


def test_too_little_memory_or_disk_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LEAST_MEMORY_BYTES", 1 << 60)
    monkeypatch.setattr(machine, "LEAST_DISK_BYTES", 1 << 60)
    for look in (machine._memory, machine._disk):
        with pytest.raises(ConfigError, match="are needed"):
            look()


@pytest.mark.parametrize(
    ("requirement", "ok"),
    [
        ("numpy>=2.0", True),
        ("numpy>=99", False),
        ("numpy<1.5,>=1.0", False),
        ("no-such-package>=1", False),
        ('no-such-package>=1; extra == "dev"', True),
    ],
)
def test_versions_are_compared_with_their_bounds(requirement: str, ok: bool) -> None:
    assert machine._version_finding(requirement).ok is ok


def test_a_switch_that_lets_flower_phone_home_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    with pytest.raises(ConfigError, match="FLWR_TELEMETRY_ENABLED"):
        machine._switches()
