"""What the daemon does between messages: notes into the log, and sealing of the log's older part."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Final

from fedmed.errors import FedMedError
from fedmed.governance.audit_chain import AuditKind
from fedmed_nodes.kept_store import SEAL_ABOVE, KeptStore
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.notes import Due, Notes
from fedmed_nodes.office import Office

_TURN_S: Final = 1.0


class Housekeeper:
    """Keeps the log of a custodian that serves.

    Guarantees:
        It waits at most a second for the custodian's turn; what it could not write stays due. A disk that
        refuses ends nothing: the operator is told once, and it is tried again.
    """

    def __init__(self, office: Office, store: KeptStore, notes: Notes, *, say: Callable[[str], None]) -> None:
        """Take what to keep.

        Args:
            office: Gives turns.
            store: Of the same custodian.
            notes: What waits to be written.
            say: Told of a disk that refuses.
        """
        self._office = office
        self._store = store
        self._notes = notes
        self._say = say
        self._told = ""

    def started(self, *, roster_digest: str, policy_digest: str, withheld: Sequence[str] = ()) -> None:
        """Write that the custodian starts, under what, and which datasets it withholds.

        Raises what the store raises.

        The first entry of a process is where an old copy of the store shows (`StoreSetBack`).
        """
        detail = f"fedmed {version('fedmed')}, roster {roster_digest}, policy {policy_digest}"
        detail += f", not served by quality_gate: {', '.join(withheld)}" if withheld else ""
        self._office.write(lambda logbook: logbook.write(AuditKind.STARTED, detail=detail))

    def stopped(self) -> None:
        """Write what is due and that the custodian stops."""
        self.tidy()
        self._tried(lambda logbook: logbook.write(AuditKind.STOPPED))

    def tidy(self, *, seal_above: int = SEAL_ABOVE) -> None:
        """Write the notes that are due; seal the log when it has grown.

        Args:
            seal_above: Entries in the store above which the older part is sealed.
        """
        now_s = time.monotonic()
        for due in self._notes.due(now_s):
            if self._tried(partial(_write, due)):
                self._notes.written(due, now_s)
        self._tried(lambda logbook: self._seal(logbook, above=seal_above))

    def _seal(self, logbook: Logbook, *, above: int) -> None:
        """Seal the log when it has grown."""
        if self._store.live_entries() > above:
            self._store.seal(logbook)

    def _tried(self, act: Callable[[Logbook], object]) -> bool:
        """Whether an act got its turn and the store took it."""
        try:
            return self._office.write(act, patience_s=_TURN_S)
        except FedMedError as fault:
            if self._told != fault.code:
                self._say(f"the log cannot be kept: {fault}")
            self._told = fault.code
            return False


def _write(due: Due, logbook: Logbook) -> None:
    """Write one note."""
    logbook.write(due.note.kind, code=due.note.code, detail=due.detail)
