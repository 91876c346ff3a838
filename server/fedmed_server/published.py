"""The register of what was published: exact statistics are judged together with all earlier ones.

One file a study, created and never changed, with exact sums: mode 0600 in a folder of mode 0700. Studies
count as one dataset version while dataset and declared persons are the same; a coordinator knows no more of a
version, since fingerprints stay in the provinces. A register that is lost or thinned out lets later studies
show what they should hide: it belongs into the coordinator's backup.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from fedmed.errors import ConfigError, IntegrityError
from fedmed.programs.by_kind import program_for
from fedmed.programs.contract import Arrays
from fedmed.programs.statistics import published, statistics_document
from fedmed.study import StatisticsStudy, StudySpec, canonical_bytes, study_digest
from fedmed_server.files import FILE_MODE, private_folder, read_private, replace_private

PUBLISHED_FOLDER: Final = "published"
STATES_FILE: Final = "hidden_cells.json"
"""Why each number of a study is blank, in its run's folder; for the coordinator's owner."""


_ENTRY: Final = ("order", "dataset", "declared_persons", "record")


def publish(register: Path, folder: Path, spec: StudySpec, state: Arrays) -> Mapping[str, object]:
    """The result document of a finished study, after disclosure control.

    Args:
        register: Folder of the register.
        folder: The run's folder; gets `STATES_FILE`.
        spec: The study.
        state: Its final state.

    Returns:
        What readers get. Exact statistics have blanks, other results are the program's.

    Raises:
        ConfigError, IntegrityError, StoreFailed: the register cannot be read or written.

    Guarantees:
        A study enters the register before anybody sees its result. Asked again, it gives the same, whatever
        was published since.
    """
    if not (isinstance(spec, StatisticsStudy) and spec.privacy.is_exact):
        return program_for(spec).document(state)
    digest = study_digest(canonical_bytes(spec)).hex()
    with _alone(private_folder(register)):
        path = register / f"{digest}.json"
        entries = _entries(register)
        order = entries[digest]["order"] if digest in entries else len(entries)
        made = published(spec, state, earlier=_before(entries, spec, order=order))
        if digest not in entries:
            entry = {"order": order, **_data_of(spec), "record": made.record}
            replace_private(path, json.dumps(entry, ensure_ascii=False).encode())
    replace_private(folder / STATES_FILE, json.dumps(made.states, ensure_ascii=False, indent=1).encode())
    return statistics_document(spec, made.tables)


def earlier_records(register: Path, spec: StatisticsStudy) -> tuple[Mapping[str, Any], ...]:
    """Records of what was published of the same data before an exact study, as its blanks were decided by.

    Args:
        register: Folder of the register.
        spec: A published study.

    Raises:
        IntegrityError: the register cannot be read, or does not know the study.
    """
    digest, entries = study_digest(canonical_bytes(spec)).hex(), _entries(register)
    if digest not in entries:
        raise IntegrityError(
            f"study {spec.id} is not in {register}: restore the register of published tables"
        )
    return tuple(_before(entries, spec, order=entries[digest]["order"]))


def _before(entries: Mapping[str, Mapping[str, Any]], spec: StudySpec, *, order: int) -> list[Any]:
    """Records of the same data with a lower place in the order."""
    return [e["record"] for e in entries.values() if e["order"] < order and _is_same_data(e, spec)]


def _data_of(spec: StudySpec) -> dict[str, Any]:
    """What stands for a dataset version."""
    return {"dataset": spec.data.dataset, "declared_persons": dict(spec.data.declared_persons)}


def _is_same_data(entry: Mapping[str, Any], spec: StudySpec) -> bool:
    """Whether an entry is about the same dataset: no node declares another number of persons."""
    here, there = spec.data.declared_persons, entry["declared_persons"]
    both = here.keys() & there.keys()
    return bool(entry["dataset"] == spec.data.dataset and all(here[n] == there[n] for n in both))


def _entries(register: Path) -> dict[str, dict[str, Any]]:
    """All entries by study, in the order in which they were published."""
    found = {}
    for path in register.glob("*.json"):
        try:
            entry = json.loads(read_private(path))
            found[path.stem] = {name: entry[name] for name in _ENTRY}
        except (ValueError, KeyError, TypeError, ConfigError):
            raise IntegrityError(f"{path} cannot be read: restore the register of published tables") from None
    return dict(sorted(found.items(), key=lambda item: item[1]["order"]))


@contextlib.contextmanager
def _alone(register: Path) -> Iterator[None]:
    """Two studies that end together are published one after the other."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(register / "lock", flags, FILE_MODE), "wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
