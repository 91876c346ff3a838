"""What the log should know and no message brings: callers turned away, faults on the socket, reads.

The places where these happen must not wait for the custodian's turn, which a contribution may hold for
minutes. So they leave a note here, and the daemon writes the notes into the log when it gets a turn.

Threat model. Anybody on the machine can knock on the socket as often as they like, and whoever may relay can
send nonsense. The log must tell of it and must not fill the disk: of equal notes one is written at once, and
the rest of an hour as one entry with their number.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Final

from fedmed.governance.audit_chain import AuditKind

QUIET_S: Final = 3_600.0
MOST_NOTES: Final = 200
"""Different notes at one time; further ones are counted as `AuditKind.ERROR` without words."""


@dataclass(frozen=True, slots=True)
class Note:
    """What happened: kind, stable code or empty, and public words."""

    kind: AuditKind
    code: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Due:
    """A note to be written, and how often it was left."""

    note: Note
    times: int

    @property
    def detail(self) -> str:
        """Words for the log."""
        return self.note.detail if self.times == 1 else f"{self.note.detail} ({self.times} times)"


_OVERFLOW: Final = Note(AuditKind.ERROR, detail="more kinds of faults than are written down")


@dataclass(slots=True)
class _Count:
    """How often a note was left since it was last written, and when that was."""

    times: int
    written_s: float | None = None


class Notes:
    """Takes notes from any thread without waiting, and gives out those that are due.

    Guarantees:
        A new note is due at once; equal ones within `QUIET_S` of it become one, with their number. Memory
        and entries are bounded by `MOST_NOTES` an hour.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: dict[Note, _Count] = {}

    def add(self, kind: AuditKind, *, code: str = "", detail: str = "") -> None:
        """Leave a note; arguments as in `fedmed.governance.audit_chain.AuditEvent`."""
        note = Note(kind, code, detail)
        with self._lock:
            if note not in self._counts and len(self._counts) >= MOST_NOTES:
                note = _OVERFLOW
            self._counts.setdefault(note, _Count(times=0)).times += 1

    def due(self, now_s: float) -> tuple[Due, ...]:
        """Notes to be written now; tell `written` of each that was.

        Args:
            now_s: Seconds on a clock that never goes back.
        """
        found = []
        with self._lock:
            for note, count in list(self._counts.items()):
                if count.written_s is not None and now_s < count.written_s + QUIET_S:
                    continue
                if count.times:
                    found.append(Due(note, count.times))
                else:
                    del self._counts[note]  # an hour without another one
        return tuple(found)

    def written(self, due: Due, now_s: float) -> None:
        """A note is in the log; what was left of its kind in the meantime waits for an hour."""
        with self._lock:
            count = self._counts[due.note]
            count.times, count.written_s = count.times - due.times, now_s
