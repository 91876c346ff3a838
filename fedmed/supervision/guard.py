"""Ends a supervisor's children where the supervisor itself was killed.

A process that gets SIGKILL, or that a full memory ended, cleans nothing up: its children would run on while
nobody watches them, no status shows them, and no command stops them. So a small process of its own holds the
other end of a pipe that only the supervisor writes to. It is told which groups run; when the pipe closes
without a goodbye, it ends them. Run as a program it needs the standard library only and starts in 20 ms.

Who ends the guard as well gets the old state: the next start ends what it finds (`RunFolder.end_orphans`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable

_WATCH, _FORGET, _GOODBYE = "+", "-", "."
_CLOSE_S = 10.0


class Guard:
    """The supervisor's end of the pipe; leaving the context says goodbye.

    Guarantees:
        Groups that are watched when this process ends without `close`, by whatever signal, are ended by
        SIGKILL at once, with everything that stayed in them. After `close` the guard ends nothing.
    """

    def __init__(self) -> None:
        """Start the guard; raises `OSError` when it cannot be started."""
        # In a session of its own, so that no signal for this process's group reaches it.
        self._process = subprocess.Popen(  # noqa: S603  # our program, no shell
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={},
            start_new_session=True,
            text=True,
        )

    def __enter__(self) -> Guard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def watch(self, group: int) -> None:
        """End this process group if this process does not live to `forget` it."""
        self._tell(f"{_WATCH}{group}")

    def forget(self, group: int) -> None:
        """A group is over: its number may be somebody else's soon."""
        self._tell(f"{_FORGET}{group}")

    def close(self) -> None:
        """Say goodbye and wait for the guard's end; a second call does nothing."""
        self._tell(_GOODBYE)
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(_CLOSE_S)
        except subprocess.TimeoutExpired:  # stopped from outside: it must not outlive us
            self._process.kill()
            self._process.wait()

    def _tell(self, line: str) -> None:
        """Write one line; a guard that somebody ended guards nothing, and nobody waits for it."""
        pipe = self._process.stdin
        if pipe is None or pipe.closed:
            return
        with contextlib.suppress(OSError):
            pipe.write(f"{line}\n")
            pipe.flush()


def guard(lines: Iterable[str]) -> None:
    """Follow what a supervisor says; end what runs when it falls silent without a goodbye."""
    watched: set[int] = set()
    for line in lines:
        if line.startswith(_GOODBYE):
            return
        if line.startswith(_WATCH):
            watched.add(int(line[1:]))
        elif line.startswith(_FORGET):
            watched.discard(int(line[1:]))
    for group in watched:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    for ignored in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    guard(sys.stdin)
