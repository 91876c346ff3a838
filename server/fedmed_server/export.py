"""``fedmed server export``: writes the release of a finished study to a folder or a ZIP file.

The bundle holds public things only (`fedmed.release.bundle` says what and why); it is written with the
permissions that the caller's umask gives, for it is made to be handed on. An exact study is the exception:
its sums hold what its publication hides, so its release is made on request only and read by its owner alone.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from fedmed import wire
from fedmed.errors import ConfigError, IntegrityError, StoreFailed
from fedmed.messages import Roster
from fedmed.programs.by_kind import program_for
from fedmed.programs.regression import INPUTS
from fedmed.release.bundle import Material, make_bundle
from fedmed.release.payloads import fitting
from fedmed.study import RegressionStudy, StatisticsStudy, StudySpec, TrainingStudy, canonical_bytes
from fedmed.types import FloatArray
from fedmed_server.delivery import RESULT_FILE, deliver, deliver_question
from fedmed_server.deployed_study import JOURNAL, MODEL_FILE, OUTCOME_FILE, ROSTER_FILE
from fedmed_server.files import read_private, replace_private
from fedmed_server.home import Home
from fedmed_server.published import PUBLISHED_FOLDER, earlier_records
from fedmed_server.run_store import RunStore
from fedmed_server.study_flow import RoundSummary
from fedmed_server.study_status import read_study

# Equal content gives an equal archive; this is the earliest time that a ZIP entry can carry.
_NO_TIME: Final = (1980, 1, 1, 0, 0, 0)
_ZIP: Final = ".zip"


def export(home: Home, study: str, *, out: Path | None, exact_sums: bool = False) -> Path:
    """Write the release of a finished study.

    Args:
        home: The coordinator's home.
        study: Its id.
        out: A new ZIP file (a name that ends in ``.zip``) or a new folder; None = ``release.zip`` in the
            run's folder, which is then replaced.
        exact_sums: Whether the release of an exact study is wanted although it holds the exact sums.

    Returns:
        Where it lies.

    Raises:
        ConfigError: the study is not finished, ``out`` is taken, or the sums are exact and nobody said that
            they are wanted.
        IntegrityError: the journal of the run is not whole.
        StoreFailed: it cannot be written.

    Guarantees:
        The same study gives the same bytes. Exact sums lie in files of mode 0600.
    """
    spec = read_study(home, study)
    if spec.privacy.is_exact and not exact_sums:
        raise ConfigError(
            f"the release of {study} would hold its exact sums, and with them every cell that the result "
            "leaves blank; say --exact-sums, and hand it only to those who may see the sums"
        )
    place = home.run_folder(study) / f"release{_ZIP}" if out is None else out
    if out is not None and out.exists():
        raise ConfigError(f"{out} exists already; name another file, or move it away first")
    files = make_bundle(gather(home, study), home.identity())
    is_private = spec.privacy.is_exact
    try:
        if place.suffix == _ZIP:
            _write(place, _zipped(files), is_private=is_private)
        else:
            place.mkdir(parents=True)
            for name, data in files.items():
                _write(place / name, data, is_private=is_private)
    except OSError as fault:
        raise StoreFailed(f"{place} cannot be written: {fault.strerror}") from None
    return place


def gather(home: Home, study: str) -> Material:
    """What the release of a finished study is made of; raises as `export`."""
    spec, folder = read_study(home, study), home.run_folder(study)
    if not (folder / OUTCOME_FILE).exists():
        raise ConfigError(f"study {study} is not finished: only a finished study has a release")
    if isinstance(spec, TrainingStudy):
        deliver(folder, spec)
    else:
        deliver_question(folder, spec)
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
        result=read_private(folder / RESULT_FILE),
        model=read_private(folder / MODEL_FILE) if isinstance(spec, TrainingStudy) else b"",
        inputs=_inputs(spec, state.rounds),
        earlier=_earlier(home, spec),
        payloads=_payloads(spec, store, rounds=len(state.rounds)),
    )


def _earlier(home: Home, spec: StudySpec) -> Sequence[Mapping[str, Any]]:  # Any: JSON
    """What was published before an exact statistics study; other kinds leave nothing blank by it."""
    if not (isinstance(spec, StatisticsStudy) and spec.privacy.is_exact):
        return ()
    return earlier_records(home.path / PUBLISHED_FOLDER, spec)


def _payloads(spec: StudySpec, store: RunStore, *, rounds: int) -> Mapping[str, bytes]:
    """What the sums are made of, as far as a release carries it.

    Raises:
        ConfigError: the run was made by a FedMed that did not keep it.
    """
    if not spec.aggregation.scheme.has_keys:
        return {}
    kept = (store.payloads(number) for number in range(rounds, 0, -1))
    newest = fitting(kept, lambda held: sum(map(len, held.values())) if held is not None else 0)
    found: dict[str, bytes] = {}
    for held in newest:
        if held is None:
            raise _too_old(spec)
        found |= held
    return found


def _too_old(spec: StudySpec) -> ConfigError:
    """Why a study that was run by an older FedMed has no release."""
    return ConfigError(f"study {spec.id} was run by an older FedMed, which kept too little for a release")


def _inputs(spec: StudySpec, rounds: Sequence[RoundSummary]) -> tuple[FloatArray, ...]:
    """What each round of a regression computed on; other kinds work it out from the sums to the last bit.

    Raises:
        ConfigError: the run was made by a FedMed that did not keep them.
    """
    if not isinstance(spec, RegressionStudy) or not rounds:
        return ()
    program = program_for(spec)
    traces = (program.trace(program.begin()), *(r.trace for r in rounds[:-1]))
    if any(INPUTS not in trace for trace in traces):
        raise _too_old(spec)
    return tuple(trace[INPUTS] for trace in traces)


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


def _write(place: Path, data: bytes, *, is_private: bool) -> None:
    """One file; a private one is so from its first byte on."""
    if is_private:
        replace_private(place, data)
    else:
        place.write_bytes(data)
