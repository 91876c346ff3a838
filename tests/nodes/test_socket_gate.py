"""The gate before the custodian's socket: who is heard, and who cannot even connect."""

from __future__ import annotations

import contextlib
import gc
import grp
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmed.errors import ConfigError, StoreFailed
from fedmed_nodes.socket_gate import (
    MOST_PATH_BYTES,
    Admission,
    Backends,
    Caller,
    SocketGate,
    caller_of,
    listen,
)

FOREIGN = 65_534
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="run as root: it takes a second user")

CONNECT = textwrap.dedent(
    """
    import os, socket, sys
    path, uid, gid, groups = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    os.setgroups([int(g) for g in groups.split(",") if g])
    os.setgid(gid)
    os.setuid(uid)
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(30)
    try:
        s.connect(path)
        s.sendall(b"hello")
        print(s.recv(100).decode() or "closed")
    except PermissionError:
        print("no permission")
    except ConnectionError:
        print("closed")
    """
)


def call_as(path: Path, uid: int, gid: int = FOREIGN, *, groups: tuple[int, ...] = ()) -> str:
    """Connect as another user and say hello; returns what was heard."""
    words = [str(path), str(uid), str(gid), ",".join(map(str, groups))]
    done = subprocess.run(
        [sys.executable, "-c", CONNECT, *words], capture_output=True, text=True, check=True, timeout=30
    )
    return done.stdout.strip()


class Echo:
    """A backend that says its name and what it heard."""

    def __init__(self, path: Path, name: str) -> None:
        self.path = path
        self._name = name
        self._listening = listen(path, group=None)
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(connection,), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(1 << 16):
                connection.sendall(self._name.encode() + b":" + data)

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()


class Place:
    """A gate before two backends, in a folder that any user may enter."""

    def __init__(self, folder: Path, **admission: int) -> None:
        self.path = folder / "run" / "c.sock"
        self.refused: list[Caller] = []
        self._echoes = [Echo(folder / "inner" / f"{n}.sock", n) for n in ("relay", "operator")]
        who = Admission(owner=os.geteuid(), **admission)
        backends = Backends(relay=self._echoes[0].path, operator=self._echoes[1].path)
        self.gate = SocketGate(
            listen(self.path, group=who.group),
            backends,
            admission=who,
            most_connections=8,
            on_refusal=self.refused.append,
        )
        self.gate.start()

    def close(self) -> None:
        self.gate.stop()
        for echo in self._echoes:
            echo.close()


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user may enter, unlike pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="gate"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def place(open_folder: Path) -> Iterator[Place]:
    made = Place(open_folder)
    yield made
    made.close()


def hello(path: Path) -> bytes:
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(os.fspath(path))
        with contextlib.suppress(ConnectionError):
            s.sendall(b"hello")
            return s.recv(100)
        return b""


def test_the_custodians_own_user_is_an_operator(place: Place) -> None:
    assert hello(place.path) == b"operator:hello"


def test_folder_and_socket_are_closed_to_others(place: Place) -> None:
    assert place.path.parent.stat().st_mode & 0o777 == 0o700
    assert place.path.stat().st_mode & 0o777 == 0o660


def test_the_kernel_says_who_calls() -> None:
    here, there = socket.socketpair(socket.AF_UNIX)
    with here, there:
        caller = caller_of(here)
    assert caller.uid == os.geteuid()
    assert os.getegid() in caller.groups


@NEEDS_ROOT
def test_a_foreign_user_cannot_enter_the_folder(place: Place) -> None:
    assert call_as(place.path, FOREIGN) == "no permission"


@NEEDS_ROOT
def test_a_foreign_user_who_reaches_the_socket_is_not_heard(place: Place) -> None:
    place.path.parent.chmod(0o755)
    place.path.chmod(0o666)
    assert call_as(place.path, FOREIGN) == "closed"
    assert [caller.uid for caller in place.refused] == [FOREIGN]


@NEEDS_ROOT
def test_groups_decide_who_relays_and_who_operates(open_folder: Path) -> None:
    numbers = sorted(g.gr_gid for g in grp.getgrall() if g.gr_gid not in (0, FOREIGN))[:2]
    group, operators = numbers
    place = Place(open_folder, group=group, operators=operators)
    try:
        assert place.path.parent.stat().st_mode & 0o777 == 0o750
        assert place.path.parent.stat().st_gid == place.path.stat().st_gid == group
        assert call_as(place.path, FOREIGN) == "no permission"
        assert call_as(place.path, FOREIGN, group) == "relay:hello"
        assert call_as(place.path, FOREIGN, groups=(group,)) == "relay:hello"
        assert call_as(place.path, FOREIGN, group, groups=(operators,)) == "operator:hello"
        assert call_as(place.path, FOREIGN, operators) == "no permission"
    finally:
        place.close()


def test_many_bytes_pass_unchanged(place: Place) -> None:
    sent = os.urandom(3_000_000)
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(os.fspath(place.path))
        threading.Thread(target=s.sendall, args=(sent,), daemon=True).start()
        heard = b""
        while len(heard.replace(b"operator:", b"")) < len(sent):
            heard += s.recv(1 << 20)
    assert heard.replace(b"operator:", b"") == sent


def test_more_connections_than_allowed_are_closed_and_room_comes_back(place: Place) -> None:
    held = [socket.socket(socket.AF_UNIX) for _ in range(8)]
    for s in held:
        s.connect(os.fspath(place.path))
        s.settimeout(30)
        s.sendall(b"x")
        assert s.recv(10) == b"operator:x"
    with socket.socket(socket.AF_UNIX) as ninth:
        ninth.settimeout(30)
        ninth.connect(os.fspath(place.path))
        assert ninth.recv(10) == b""
    for s in held:
        s.close()
    last = time.monotonic() + 30
    while hello(place.path) != b"operator:hello":
        assert time.monotonic() < last, "no room came back"


def test_a_gate_that_ends_while_connections_come_and_go_closes_every_one(open_folder: Path) -> None:
    for attempt in range(12):
        place = Place(open_folder / str(attempt))
        held = [socket.socket(socket.AF_UNIX) for _ in range(8)]
        for s in held:
            s.connect(os.fspath(place.path))
            s.sendall(b"x")
        for s in held[: attempt % 8]:
            s.close()  # the end of one side and the end of the gate meet
        place.close()
        with socket.socket(socket.AF_UNIX) as late, pytest.raises(ConnectionRefusedError):
            late.connect(os.fspath(place.path))
        for s in held:
            s.close()
    gc.collect()  # a stream or socket that was never closed warns here, and a warning is an error


def test_a_socket_of_a_dead_custodian_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "run" / "c.sock"
    listen(path, group=None).close()
    with socket.socket(socket.AF_UNIX) as caller:
        with pytest.raises(ConnectionRefusedError):
            caller.connect(os.fspath(path))
        with listen(path, group=None):
            caller.connect(os.fspath(path))
            assert caller.getpeername() == os.fspath(path)


def test_a_place_that_cannot_hold_a_socket_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=str(MOST_PATH_BYTES)):
        listen(tmp_path / ("x" * 120) / "c.sock", group=None)
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreFailed):
        listen(tmp_path / "file" / "c.sock", group=None)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "c.sock").write_text("precious")
    with pytest.raises(StoreFailed):
        listen(tmp_path / "run" / "c.sock", group=None)
    assert (tmp_path / "run" / "c.sock").read_text() == "precious"
    (tmp_path / "link").symlink_to(tmp_path / "run")
    with pytest.raises(ConfigError, match="no link"):
        listen(tmp_path / "link" / "c.sock", group=None)
