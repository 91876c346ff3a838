"""The folder in which a supervisor notes that it runs, and what: its lock and its processes.

::

    lock             held while the supervisor runs; a killed one lets go of it
    processes.json   process ids by name, the supervisor's among them
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fedmed.errors import ConfigError, ProcessFailed, StoreFailed
from fedmed.supervision.processes import end_group, is_there, wait_until

_ORPHANS_S: Final = 10.0
_LOOK_S: Final = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """Where one supervisor notes what it runs.

    Attributes:
        path: The folder; whoever makes it closes it to other users.
        what: What the supervisor is, for messages and as its own name among the processes.
        at: What it runs, for messages.
    """

    path: Path
    what: str
    at: Path

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder for one supervisor.

        Raises:
            ConfigError: another one holds it.
            StoreFailed: the lock cannot be written.
        """
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreFailed(f"{self._lock} cannot be written: {error.strerror}") from error
        try:
            if not _can_lock(descriptor):
                raise ConfigError(f"a {self.what} already runs on {self.at}; stop it first")
            yield
        finally:
            os.close(descriptor)

    def is_running(self) -> bool:
        """Whether a supervisor holds the folder now; raises `ConfigError` where this user may not look."""
        try:
            descriptor = os.open(self._lock, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as error:
            raise ConfigError(f"{self._lock} cannot be read: {error.strerror}; ask as its user") from None
        try:
            return not _can_lock(descriptor)
        finally:
            os.close(descriptor)

    def note(self, pids: Mapping[str, int]) -> None:
        """Write which processes run, this one among them; raises `StoreFailed`."""
        waiting = self._status.with_suffix(".new")
        try:
            waiting.touch(mode=0o600)
            waiting.write_text(json.dumps({self.what: os.getpid(), **pids}), encoding="utf-8")
            waiting.replace(self._status)
        except OSError as error:
            raise StoreFailed(f"{self._status} cannot be written: {error.strerror}") from error

    def forget(self) -> None:
        """Note that nothing runs any more."""
        self._status.unlink(missing_ok=True)

    def processes(self) -> dict[str, int]:
        """Process ids by name; empty when nothing runs. Raises `ConfigError` as `is_running`."""
        return self._noted() if self.is_running() else {}

    def stop(self, *, timeout_s: float) -> bool:
        """Ask the supervisor to stop and wait for it; False when none runs.

        Raises:
            ProcessFailed: it still runs after ``timeout_s``.
            ConfigError: it belongs to another user.
        """
        pid = self.processes().get(self.what)
        if pid is None:
            return False
        try:
            os.kill(pid, signal.SIGTERM)
        except PermissionError:
            raise ConfigError(
                f"the {self.what} (process {pid}) belongs to another user; ask as that"
            ) from None
        deadline = time.monotonic() + timeout_s
        while self.is_running():
            if time.monotonic() > deadline:
                raise ProcessFailed(f"the {self.what} (process {pid}) still runs after {timeout_s:.0f} s")
            time.sleep(_LOOK_S)
        return True

    def end_orphans(self, marks: Sequence[Path]) -> None:
        """End what a supervisor left that was killed itself.

        Args:
            marks: Folders, one of which stands in the command line of everything that it starts. This is
                checked because a process id may have gone to somebody else.

        Raises:
            ProcessFailed: something does not end.
        """
        noted = [pid for name, pid in self._noted().items() if name != self.what]
        left = [pid for pid in noted if _names_one(pid, marks)]
        for pid in left:
            end_group(pid, signal.SIGKILL)
        wait_until(
            lambda: not any(is_there(pid) for pid in left),
            timeout_s=_ORPHANS_S,
            what=f"what a killed {self.what} left behind ends",
            while_waiting=lambda: None,
        )
        self.forget()

    @property
    def _lock(self) -> Path:
        """File whose lock the running supervisor holds."""
        return self.path / "lock"

    @property
    def _status(self) -> Path:
        """File with the processes."""
        return self.path / "processes.json"

    def _noted(self) -> dict[str, int]:
        """What was noted last, by whomever."""
        try:
            told = json.loads(self._status.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            raise ConfigError(f"{self._status} is not readable; end its processes and remove it") from None
        return {str(name): int(pid) for name, pid in told.items()}


def _names_one(pid: int, marks: Sequence[Path]) -> bool:
    """Whether a process runs whose command line names one of some folders."""
    try:
        line = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return any(os.fsencode(mark) in line for mark in marks)


def _can_lock(descriptor: int) -> bool:
    """Try to take the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
