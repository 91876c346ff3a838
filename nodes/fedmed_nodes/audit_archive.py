"""The older part of the audit chain in sealed files: one signed entry a line, read-only.

A file is named by its first and last entry, ``audit-00000001-00000057.jsonl``, and holds each entry in
exactly the bytes that were signed, so that it can be checked with the node's public card alone. The chain
goes on in the store: its first entry there follows the last entry here.

Threat model. Whoever may write in the folder can remove or edit a file; `fedmed.governance.audit_chain`
then finds the first entry that does not hold, since a new file would need the node's key. Whoever has the
key can rewrite everything; that shows only against heads that others kept.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Final

from fedmed.errors import IntegrityError, StoreFailed
from fedmed.governance.audit_chain import AuditEntry
from fedmed.types import require
from fedmed_nodes import private_folder

MOST_FILE_BYTES: Final = 1 << 28
_NAME: Final = re.compile(r"audit-([0-9]{8,18})-([0-9]{8,18})\.jsonl")


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedFile:
    """A file of the archive: counters of its first and last entry."""

    first: int
    last: int

    def __post_init__(self) -> None:
        good = 1 <= self.first <= self.last
        require(good, f"a sealed file must hold entries, got {self.first}..{self.last}")

    @property
    def name(self) -> str:
        """The file's name in the folder."""
        return f"audit-{self.first:08}-{self.last:08}.jsonl"


class AuditArchive:
    """The sealed files in one folder.

    Guarantees:
        The folder has mode 0700, a file 0400 from its first moment, and it is on disk when `seal` returns.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; it is made when the first file is sealed."""
        self._path = folder

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    def files(self) -> tuple[SealedFile, ...]:
        """The files, by their first entry."""
        paths = self._path.iterdir() if self._path.is_dir() else ()
        found = [match for path in paths if (match := _NAME.fullmatch(path.name))]
        files = [SealedFile(first=int(match[1]), last=int(match[2])) for match in found]
        return tuple(sorted(files, key=lambda file: (file.first, file.last)))

    def seal(self, entries: Sequence[AuditEntry]) -> SealedFile:
        """Write entries into a new file.

        Args:
            entries: In order, without gaps; at least one.

        Raises:
            StoreFailed: it cannot be written; what a crash left of an earlier try is replaced.
        """
        sealed = SealedFile(first=entries[0].counter, last=entries[-1].counter)
        data = b"".join(entry.to_bytes() + b"\n" for entry in entries)
        private_folder.prepare_folder(self._path, hidden=True)
        try:
            with private_folder.open_folder(self._path, hidden=True) as folder:
                # Only a seal that a crash stopped before the store heard of it begins at the same entry.
                for left in (file for file in self.files() if file.first >= sealed.first):
                    os.unlink(left.name, dir_fd=folder)
                mode = private_folder.SEALED_MODE
                private_folder.create_file(sealed.name, data, folder=folder, mode=mode)
        except OSError as fault:
            raise StoreFailed(f"the log cannot be sealed in {self._path}: {fault.strerror}") from fault
        return sealed

    def entries(self, first: int, last: int) -> tuple[AuditEntry, ...]:
        """Entries by their counters, both ends included.

        Raises:
            IntegrityError: names the first entry that is missing or unreadable. Signatures are checked by
                `fedmed.governance.audit_chain.verify_chain`.
        """
        found: list[AuditEntry] = []
        following = first
        for file in self.files():
            if file.first <= following <= min(file.last, last):
                entries = self._read(file)[following - file.first : last - file.first + 1]
                found.extend(entries)
                following += len(entries)
        if following <= last:
            raise IntegrityError(
                f"audit entry {following} is missing: no sealed file in {self._path} holds it; put it back"
            )
        return tuple(found)

    def _read(self, file: SealedFile) -> tuple[AuditEntry, ...]:
        """All entries of a file, as many as its name says."""
        where = self._path / file.name
        with private_folder.open_folder(self._path, hidden=True) as folder:
            data = private_folder.read_file(file.name, folder=folder, path=self._path, most=MOST_FILE_BYTES)
        lines = (data or b"").split(b"\n")[:-1]
        entries = []
        for counter, line in zip_longest(range(file.first, file.last + 1), lines):
            entry = None if line is None else _entry_or_none(line)
            if counter is None:
                raise IntegrityError(f"{where} holds more than its entries: it was altered")
            if entry is None or entry.counter != counter:
                raise IntegrityError(f"audit entry {counter} is missing or altered in {where}")
            entries.append(entry)
        return tuple(entries)


def _entry_or_none(line: bytes) -> AuditEntry | None:
    """The entry of a line; None for a line that is none."""
    try:
        return AuditEntry.from_bytes(line)
    except IntegrityError:
        return None
