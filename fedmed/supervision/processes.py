"""Starts child processes, each with its own group, and ends them with everything they started."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from fedmed.errors import ProcessFailed
from fedmed.supervision.guard import Guard

TERM_GRACE_S: Final = 10.0
_KILL_GRACE_S: Final = 5.0
_POLL_S: Final = 0.1
# What a child may inherit: where programs and temporary files are, and the language of texts. Nothing that
# could change what FedMed or Flower does.
_INHERITED: Final = ("HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """What to run.

    Attributes:
        name: For people and for the log file's name.
        command: Program and arguments; a program without a slash is looked up beside this Python first.
        environment: Beyond what every child gets.
        log: File that gets what it prints.
    """

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def flower_environment(home: Path) -> dict[str, str]:
    """What each of Flower's processes needs.

    Args:
        home: Flower's own folder; one for each set of processes.

    Returns:
        Variables that also keep Flower from reporting usage and from looking for updates.
    """
    return {"FLWR_HOME": str(home), "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1"}


@contextlib.contextmanager
def fresh_flower_home() -> Iterator[None]:
    """Give this process a Flower folder inside its present one that nobody used before; it is removed after.

    Flower keeps apps unpacked in its folder and runs them again without looking at their digest: what one
    task's process leaves there would be the next one's code (FLOWER.md, hole 6).

    Raises:
        ProcessFailed: there is no such folder, or it cannot be written.
    """
    try:
        made = tempfile.mkdtemp(prefix="task-", dir=os.environ["FLWR_HOME"])
    except (KeyError, OSError) as error:
        raise ProcessFailed(f"FLWR_HOME must name a folder of this user: {type(error).__name__}") from error
    before, os.environ["FLWR_HOME"] = os.environ["FLWR_HOME"], made
    try:
        yield
    finally:
        os.environ["FLWR_HOME"] = before
        shutil.rmtree(made, ignore_errors=True)


def child_environment(extra: Mapping[str, str]) -> dict[str, str]:
    """The whole environment of a child: a short list of inherited names, the search path, and ``extra``."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # Several processes share the machine's cores: one thread each is faster than a crowd.
    return {**inherited, "PATH": search_path(), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", **extra}


def search_path(*first: Path) -> str:
    """Where programs are looked up: some folders, then beside this Python, then as for this process."""
    folders = [*map(str, first), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]
    return os.pathsep.join(folders)


class Children:
    """Running children by name; ends them all, the last started first, when the body is left.

    Guarantees:
        They do not outlive this process either when it is killed and can end nothing any more
        (`fedmed.supervision.guard`).
    """

    def __init__(self) -> None:
        self._running: dict[str, tuple[Program, subprocess.Popen[bytes]]] = {}
        self._guard: Guard | None = None

    def start(self, program: Program) -> int:
        """Start a program in a process group of its own; its process id.

        Raises:
            ProcessFailed: it cannot be started.
        """
        with _appending(program.log) as log:
            try:
                self._guard = self._guard or Guard()
                process = subprocess.Popen(  # noqa: S603  # our commands, no shell
                    _resolved(program.command),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=child_environment(program.environment),
                    start_new_session=True,
                )
            except OSError as error:
                raise ProcessFailed(f"{program.name} cannot be started: {error.strerror}") from error
        self._guard.watch(process.pid)
        self._running[program.name] = (program, process)
        return process.pid

    def pids(self) -> dict[str, int]:
        """Process ids by name; each is also the id of its group. Any thread may ask."""
        return {name: process.pid for name, (_, process) in dict(self._running).items()}

    def exit_codes(self) -> dict[str, int]:
        """Exit codes of the children that are over and were not yet collected by `ended`, by name."""
        codes = {name: process.poll() for name, (_, process) in self._running.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def ended(self) -> list[Program]:
        """Programs whose process is over; they are known no more, and what they started is ended too."""
        over = [name for name, (_, process) in self._running.items() if process.poll() is not None]
        programs = []
        for name in over:
            program, process = self._running.pop(name)
            end_group(process.pid, signal.SIGKILL)
            self._forget(process.pid)
            programs.append(program)
        return programs

    def require_alive(self) -> None:
        """Raise `ProcessFailed` when a child is over, with the end of its log's name."""
        for name, (program, process) in self._running.items():
            code = process.poll()
            if code is not None:
                raise ProcessFailed(f"{name} ended with exit code {code}; its log is {program.log}")

    def stop(self, names: Sequence[str] | None = None, *, grace_s: float = TERM_GRACE_S) -> None:
        """Ask children to end, then end them and all that they started.

        Args:
            names: Which; all when it is None.
            grace_s: Seconds between asking and ending.
        """
        chosen = [n for n in reversed(self._running) if names is None or n in names]
        for name in chosen:
            with contextlib.suppress(ProcessLookupError):
                self._running[name][1].terminate()
        deadline = time.monotonic() + grace_s
        for name in chosen:
            _, process = self._running.pop(name)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            # The group outlives its leader: a SuperExec leaves the app processes that it started.
            end_group(process.pid, signal.SIGKILL)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_KILL_GRACE_S)
            _wait_for_group(process.pid)
            self._forget(process.pid)
        if not self._running and self._guard is not None:
            self._guard.close()
            self._guard = None

    def _forget(self, group: int) -> None:
        """A group is over."""
        if self._guard is not None:
            self._guard.forget(group)


@contextlib.contextmanager
def children() -> Iterator[Children]:
    """Children that do not outlive the body, however it is left."""
    running = Children()
    try:
        yield running
    finally:
        running.stop()


def end_group(group: int, sign: signal.Signals) -> None:
    """Signal all processes of a group; one that is gone is no error."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, sign)


def is_there(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not collected holds nothing any more."""
    try:
        return _states(pid)[0] != "Z"
    except OSError:
        return False


def _wait_for_group(group: int) -> None:
    """Wait until a group that was ended is gone: the signal takes effect a moment later."""
    deadline = time.monotonic() + _KILL_GRACE_S
    while time.monotonic() < deadline:
        pids = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
        if not any(_is_member(pid, group) for pid in pids):
            return
        time.sleep(_POLL_S / 2)


def _is_member(pid: int, group: int) -> bool:
    """Whether a process runs in a group."""
    try:
        state, _, its_group = _states(pid)
    except OSError:
        return False
    return int(its_group) == group and state != "Z"


def _states(pid: int) -> tuple[str, str, str]:
    """State, parent and group of a process; raises `OSError` when it is gone."""
    # They follow the program's name, which stands in brackets and may hold anything (proc(5)).
    told = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return told[0], told[1], told[2]


def run_to_end(program: Program, *, timeout_s: float, folder: Path | None = None) -> str:
    """Run a short command and give what it wrote to stdout.

    Args:
        program: What to run.
        timeout_s: How long it may take.
        folder: Where it runs; None = here.

    Raises:
        ProcessFailed: it cannot be started, takes longer, or ends with another code than 0; the log has
            what it said.
    """
    try:
        done = subprocess.run(  # noqa: S603  # our commands, no shell
            _resolved(program.command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=child_environment(program.environment),
            cwd=folder,
            timeout=timeout_s,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ProcessFailed(f"{program.name} did not run to its end: {type(error).__name__}") from error
    with _appending(program.log) as log:
        log.write(done.stdout + done.stderr)
    if done.returncode != 0:
        raise ProcessFailed(f"{program.name} ended with exit code {done.returncode}; see {program.log}")
    return done.stdout.decode(errors="replace")


def wait_until(
    claim: Callable[[], bool], *, timeout_s: float, what: str, while_waiting: Callable[[], None]
) -> None:
    """Wait until a claim holds.

    Args:
        claim: Asked about ten times a second.
        timeout_s: Longest wait.
        what: What is waited for, for the message.
        while_waiting: Called between two tries; its errors pass through.

    Raises:
        ProcessFailed: it does not hold in time.
    """
    deadline = time.monotonic() + timeout_s
    while not claim():
        while_waiting()
        if time.monotonic() > deadline:
            raise ProcessFailed(f"{what}: not within {timeout_s:.0f} s")
        time.sleep(_POLL_S)


def is_listening(host: str, port: int) -> bool:
    """Whether something accepts connections there."""
    try:
        with socket.create_connection((host, port), timeout=1.0):
            return True
    except OSError:
        return False


def free_ports(count: int) -> list[int]:
    """Ports of the loopback interface that nobody uses now, all different."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]


@contextlib.contextmanager
def _appending(path: Path) -> Iterator[IO[bytes]]:
    """A log file, 0600, opened at its end."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "ab") as file:
        yield file


def _resolved(command: Sequence[str]) -> list[str]:
    """The command with its program as a path, when it lies beside this Python."""
    beside = Path(sys.executable).parent / command[0]
    return [str(beside), *command[1:]] if "/" not in command[0] and beside.exists() else list(command)
