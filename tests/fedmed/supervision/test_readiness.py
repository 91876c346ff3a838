from __future__ import annotations

import socket
from pathlib import Path

import pytest

from fedmed.supervision.readiness import notify


@pytest.mark.parametrize("is_abstract", [False, True])
def test_the_service_manager_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_abstract: bool
) -> None:
    name = f"@fedmed-{tmp_path.name}" if is_abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if is_abstract else name)
        manager.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        notify("READY=1")
        assert manager.recv(100) == b"READY=1"


@pytest.mark.parametrize("name", ["", "/no/such/socket", "relative"])
def test_without_a_service_manager_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Nothing raises, and a socket beside the service is not taken for the manager's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as neighbour:
        neighbour.bind("relative")
        neighbour.setblocking(False)
        notify("WATCHDOG=1")
        with pytest.raises(BlockingIOError):
            neighbour.recv(100)
