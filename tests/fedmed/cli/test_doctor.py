from __future__ import annotations

import json

import pytest

from fedmed.cli import doctor
from fedmed.cli.edge import run
from fedmed.errors import ConfigError


@pytest.mark.slow
def test_this_machine_is_well(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["doctor", "--crypto", "--json"]) == 0
    found = {one["name"]: one for one in json.loads(capsys.readouterr().out)["findings"]}
    assert all(one["ok"] for one in found.values())
    assert {"platform", "SEAL round trip", "rows are independent", "versions"} <= set(found)
    for name in ("t8", "t64", "t400"):
        assert "margin" in found[f"parameter set {name}"]["detail"]


def test_what_is_raised_is_what_is_wrong() -> None:
    def look() -> str:
        raise ConfigError("too small; add some")

    found = doctor._finding("memory", look)
    assert not found.ok
    assert found.detail == "config_error: too small; add some"


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
    assert doctor._version_finding(requirement).ok is ok


def test_a_switch_that_lets_flower_phone_home_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLWR_TELEMETRY_ENABLED", "1")
    with pytest.raises(ConfigError, match="FLWR_TELEMETRY_ENABLED"):
        doctor._switches()
