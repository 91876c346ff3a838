"""Writes generated claims to a folder: a folder a province, in it the tables, in them a folder a month.

Rows wait in memory until a table has enough of them to be worth a file, so memory does not grow with
people. Everything goes to a hidden folder first, which gets its name when it is complete.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fedmed import __version__
from fedmed.data.claims.edits import plain, stacked
from fedmed.data.claims.faults import fault
from fedmed.data.claims.generate import ClaimsSettings, Part, generate_claims
from fedmed.data.claims.injection import Injected, spoiled
from fedmed.errors import ConfigError
from fedmed.types import require

WAITING_BYTES = 384 * 2**20
"""Rows that wait in memory for their file, all tables together."""
BYTES_A_PERSON_YEAR = 1_000
"""About what a person's claims of a year take on disk; measured, rounded up."""
LONGEST_DICTIONARY = 1_600

OnWritten = Callable[[str, int, int], None]
"""Called after each step with the node, the persons done and the rows written so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written.

    Attributes:
        rows: (node, table) -> rows.
        injected: Faults by node; empty for clean provinces.
        size_bytes: Of all files.
    """

    rows: Counter[tuple[str, str]]
    injected: tuple[Injected, ...]
    size_bytes: int


def write_claims(
    folder: Path,
    settings: ClaimsSettings,
    *,
    faults: tuple[str, ...] = (),
    rate: float = 0.01,
    on_written: OnWritten | None = None,
) -> Written:
    """Generate claims and write them as Parquet.

    Args:
        folder: Must not exist; it appears only when it is complete.
        settings: What to generate.
        faults: Names of faults to inject.
        rate: Chance of each row that a fault fits, in (0, 1].
        on_written: Watches.

    Returns:
        Rows and faults. ``folder/generated.json`` says what was generated, ``folder/faults.json`` how
        many rows of which table each fault changed and how many it fits, where there are faults.

    Guarantees:
        Equal arguments give equal bytes. An interrupted or failed run leaves nothing.

    Raises:
        ConfigError: the folder exists, there is no room for it, it cannot be written, or a fault is unknown.
    """
    for name in faults:
        fault(name)
    require(0 < rate <= 1, f"rate must be in (0, 1], got {rate}")
    _look_for_room(folder, settings)
    rows: Counter[tuple[str, str]] = Counter()
    injected: dict[tuple[str, str], Injected] = {}
    persons = 0
    with _complete_or_nothing(folder) as place:
        files = _Files(place)
        for batch in generate_claims(settings):
            found, counts = spoiled(batch, faults, rate=rate, seed=settings.seed)
            for part in found.parts:
                rows[part.node, part.table] += part.rows.num_rows
                files.add(part)
            for count in counts:
                key = (count.node, count.fault)
                injected[key] = injected[key].plus(count) if key in injected else count
            persons += batch.persons
            if on_written is not None:
                on_written(batch.node, persons, rows.total())
        files.close()
        spoilt = tuple(injected.values())
        _write_notes(place, settings, rows, spoilt, rate=rate)
        size = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
    return Written(rows=rows, injected=spoilt, size_bytes=size)


def _look_for_room(folder: Path, settings: ClaimsSettings) -> None:
    """Refuse at once what would fail after minutes."""
    if folder.exists():
        raise ConfigError(f"{folder} exists; choose another name, or remove it first")
    if not folder.parent.is_dir():
        raise ConfigError(f"{folder.parent} is no folder; make it first, or choose another place")
    needed = settings.people * settings.years * BYTES_A_PERSON_YEAR
    free = shutil.disk_usage(folder.parent).free
    if free < needed:
        raise ConfigError(
            f"{settings.people:,} persons need about {needed / 1e9:.1f} GB, {folder.parent} has "
            f"{free / 1e9:.1f} GB free; choose another place or fewer --people"
        )


@contextmanager
def _complete_or_nothing(folder: Path) -> Iterator[Path]:
    """A hidden folder that gets its name at the end, or is removed."""
    place = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        place.mkdir()
        yield place
        place.rename(folder)
    except OSError as fault_:
        cause = fault_.strerror or str(fault_)
        raise ConfigError(f"cannot write {folder}: {cause}; nothing was left, choose another place") from None
    finally:
        shutil.rmtree(place, ignore_errors=True)


class _Files:
    """Rows on their way to files."""

    def __init__(self, place: Path) -> None:
        self._place = place
        self._waiting: dict[tuple[str, str], dict[str, list[pa.Table]]] = {}
        self._bytes: Counter[tuple[str, str]] = Counter()
        self._number: Counter[Path] = Counter()

    def add(self, part: Part) -> None:
        """Take rows; the table with most waiting bytes is written while too much waits.

        A table is written with all its months: they are slices of the same memory, which is free only
        when the last of them is gone.
        """
        key = (part.node, part.table)
        months = self._waiting.setdefault(key, {})
        for month, rows in part.by_month():
            months.setdefault(month, []).append(rows)
        self._bytes[key] += part.rows.nbytes
        while self._bytes.total() > WAITING_BYTES:
            self._write(self._bytes.most_common(1)[0][0])

    def close(self) -> None:
        """Write what still waits."""
        for key in list(self._waiting):
            self._write(key)

    def _write(self, key: tuple[str, str]) -> None:
        """Write all months of one table of one node, a file each."""
        node, table = key
        for month, rows in self._waiting.pop(key).items():
            folder = self._place / node / table / (f"month={month}" if month else "")
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"part-{self._number[folder]}.parquet"
            self._number[folder] += 1
            # Without Arrow's own schema in the file, coded texts are plain texts to every reader.
            pq.write_table(
                stacked(*(_short_dictionaries(some) for some in rows)),
                path,
                compression="zstd",
                compression_level=1,
                store_schema=False,
                store_decimal_as_integer=True,
            )
        del self._bytes[key]


def _short_dictionaries(rows: pa.Table) -> pa.Table:
    """The rows without long dictionaries: Parquet would write all of one into every month's file."""
    for place, field in enumerate(rows.schema):
        chunks = rows.column(place).chunks if pa.types.is_dictionary(field.type) else []
        if any(len(chunk.dictionary) > LONGEST_DICTIONARY for chunk in chunks):
            rows = rows.set_column(place, field.name, plain(rows, field.name))
    return rows


def _write_notes(
    place: Path,
    settings: ClaimsSettings,
    rows: Counter[tuple[str, str]],
    injected: tuple[Injected, ...],
    *,
    rate: float,
) -> None:
    """Say beside the tables what was generated and which faults were injected."""
    tables: dict[str, dict[str, int]] = {}
    for (node, table), count in rows.items():
        tables.setdefault(node, {})[table] = count
    note = {
        "format": 1,
        "synthetic": True,
        "fedmed": __version__,
        "people": settings.people,
        "seed": settings.seed,
        "years": settings.years,
        "fraud": settings.fraud,
        "persons": settings.persons(),
        "rows": tables,
    }
    _write_json(place / "generated.json", note)
    if injected:
        counts: dict[str, dict[str, object]] = {}
        for found in injected:
            entry = {"table": found.table, "rows_changed": found.changed, "rows_that_fit": found.fits}
            counts.setdefault(found.node, {})[found.fault] = entry
        _write_json(place / "faults.json", {"format": 1, "rate": rate, "faults": counts})


def _write_json(path: Path, document: dict[str, object]) -> None:
    """One document, for people too."""
    path.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
