"""``fedmed server export``: writes the release of a finished study to a folder or a ZIP file.

The bundle holds public things only (`fedmed.release.bundle` says what and why); it is written with the
permissions that the caller's umask gives, for it is made to be handed on.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fedmed import wire
from fedmed.errors import ConfigError, IntegrityError, StoreFailed
from fedmed.messages import Roster
from fedmed.release.bundle import Material, make_bundle
from fedmed.study import canonical_bytes
from fedmed_server.delivery import RESULT_FILE, deliver
from fedmed_server.deployed_study import JOURNAL, MODEL_FILE, OUTCOME_FILE, ROSTER_FILE
from fedmed_server.files import read_private
from fedmed_server.home import Home
from fedmed_server.run_store import RunStore
from fedmed_server.study_status import read_study

# Equal content gives an equal archive; this is the earliest time that a ZIP entry can carry.
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)
_ZIP: Final = ".zip"


def export(home: Home, study: str, *, out: Path | None) -> Path:
    """Write the release of a finished study.

    Args:
        home: The coordinator's home.
        study: Its id.
        out: A new ZIP file (a name that ends in ``.zip``) or a new folder; None = ``release.zip`` in the
            run's folder, which is then replaced.

    Returns:
        Where it lies.

    Raises:
        ConfigError: the study is not finished, has no model, or ``out`` is taken.
        IntegrityError: the journal of the run is not whole.
        StoreFailed: it cannot be written.

    Guarantees:
        The same study gives the same bytes.
    """
    place = home.run_folder(study) / f"release{_ZIP}" if out is None else out
    if out is not None and out.exists():
        raise ConfigError(f"{out} exists already; name another file, or move it away first")
    files = make_bundle(gather(home, study), home.identity())
    try:
        if place.suffix == _ZIP:
            place.write_bytes(_zipped(files))
        else:
            _write_folder(place, files)
    except OSError as fault:
        raise StoreFailed(f"{place} cannot be written: {fault.strerror}") from None
    return place


def gather(home: Home, study: str) -> Material:
    """What the release of a finished study is made of; raises as `export`."""
    spec, folder = read_study(home, study), home.run_folder(study)
    if not (folder / OUTCOME_FILE).exists():
        raise ConfigError(f"study {study} is not finished: only a finished study has a release")
    deliver(folder, spec)
    roster = study_roster(home, study)
    _require_key(home, roster)
    store = RunStore(folder / JOURNAL)
    exchanges, state = store.exchanges(), store.state()
    if state is None or not exchanges:
        raise IntegrityError(f"the journal of study {study} in {folder} is not whole; restore it")
    return Material(
        canonical=canonical_bytes(spec),
        roster=roster,
        exchanges=exchanges,
        sums=tuple(r.fields for r in state.rounds),
        model=read_private(folder / MODEL_FILE),
        result=read_private(folder / RESULT_FILE),
    )


def study_roster(home: Home, study: str) -> Roster:
    """The roster that a study ran under; the home's own may have been replaced since.

    Raises:
        ConfigError: it is missing.
    """
    return wire.decode_roster(read_private(home.run_folder(study) / ROSTER_FILE))


def _require_key(home: Home, roster: Roster) -> None:
    """The coordinator still has the key that the study's roster names."""
    if home.identity().public.signing_key != roster.coordinator.signing_key:
        raise ConfigError(
            "the coordinator's key was replaced since this study: only the key of the study's own roster can "
            "sign its release; export from a backup of the home made before"
        )


def _zipped(files: Mapping[str, bytes]) -> bytes:
    """The files as one archive."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name, date_time=_NO_TIME), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _write_folder(place: Path, files: Mapping[str, bytes]) -> None:
    """The files in a new folder."""
    place.mkdir(parents=True)
    for name, data in files.items():
        (place / name).write_bytes(data)
