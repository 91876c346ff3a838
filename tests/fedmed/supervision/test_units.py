from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed.errors import ConfigError
from fedmed.supervision.units import Service, render_unit, write_units

SERVICE = Service(
    name="fedmed-custodian",
    description="A custodian",
    command=("/bin/true", "node", "serve", "/var/lib/fedmed"),
    user="root",
    writable=("/var/lib",),
    is_offline=True,
)


def settings(text: str) -> dict[str, str]:
    lines = [line for line in text.splitlines() if "=" in line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def test_a_service_without_network_has_none_and_may_change_its_folder_only() -> None:
    told = settings(render_unit(SERVICE))
    wanted = {
        "ProtectSystem": "strict",
        "ReadWritePaths": "/var/lib",
        "PrivateNetwork": "yes",
        "IPAddressDeny": "any",
        "RestrictAddressFamilies": "AF_UNIX",
        "NoNewPrivileges": "yes",
        "CapabilityBoundingSet": "",
        "MemoryDenyWriteExecute": "yes",
        "ProtectHome": "yes",
        "UMask": "0077",
        "Type": "exec",
    }
    assert {name: told[name] for name in wanted} == wanted
    assert "InaccessiblePaths" not in told


def test_a_service_with_network_hides_what_it_must_not_see_and_is_watched() -> None:
    service = replace(SERVICE, is_offline=False, is_notifying=True, hidden=("/srv",), uses_home=True)
    told = settings(render_unit(service))
    assert "PrivateNetwork" not in told
    assert told["RestrictAddressFamilies"] == "AF_UNIX AF_INET AF_INET6"
    assert (told["Type"], told["InaccessiblePaths"]) == ("notify", "/srv")
    assert "WatchdogSec" in told
    assert "ProtectHome" not in told


@pytest.mark.parametrize("path", ["/a b", "/a%h", '/a"b', "/a\nUser=root", "/a$HOME", "/a\\x"])
def test_a_path_that_systemd_would_read_otherwise_is_refused_and_nothing_written(
    tmp_path: Path, path: str
) -> None:
    services = [SERVICE, replace(SERVICE, name="other", writable=(path,))]
    with pytest.raises(ConfigError, match="letters, digits"):
        write_units(services, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_name_cannot_bring_a_line_of_its_own() -> None:
    for change in ({"user": "a\nb"}, {"description": "a\nUser=root"}, {"groups": ("a b",)}):
        with pytest.raises(ConfigError):
            replace(SERVICE, **change)


@pytest.mark.slow
def test_systemd_finds_no_fault_in_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed: apt-get install systemd would make this run")
    online = replace(SERVICE, name="fedmed-courier", is_offline=False, is_notifying=True, hidden=("/srv",))
    paths = [str(path) for path in write_units([SERVICE, online], tmp_path)]
    done = subprocess.run([analyze, "verify", *paths], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    words = [analyze, "security", "--offline=true", "--threshold=20", paths[0]]
    scored = subprocess.run(words, capture_output=True, text=True, check=False)
    if "unrecognized option" in scored.stderr:
        pytest.skip("this systemd-analyze cannot judge a file: systemd 250 or later would make this run")
    assert scored.returncode == 0, scored.stdout.splitlines()[-1]
