"""The result of a study of any kind as a document, and its run's folder: what the program made of the sums.

A training study has a richer document of its own (`fedmed.outcome`), with arms and scores.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Mapping
from pathlib import Path

from fedmed.data.nhsa.glossary import glossary, row_word
from fedmed.outcome import FOLDER_MODE, FederatedRun, write_arrays
from fedmed.programs.by_kind import program_for
from fedmed.programs.contract import Arrays
from fedmed.protocol.schedule import Schedule
from fedmed.study import (
    RegressionStudy,
    StatisticsStudy,
    StudySpec,
    SurvivalStudy,
    canonical_bytes,
    study_digest,
    to_toml,
)


def question_document(
    spec: StudySpec, schedule: Schedule, run: FederatedRun, *, ended: datetime.datetime, simulation: bool
) -> Mapping[str, object]:
    """The document of a finished study.

    Args:
        spec: The study.
        schedule: The study worked out.
        run: What the study gave.
        ended: When it ended, with its time zone.
        simulation: Whether all nodes were in one process.

    Returns:
        JSON: ``study``, ``columns`` (what those that somebody has words for mean), ``axes`` (the column
        behind each name that the study gave an axis), ``rows`` (what a row is, in the plural), ``privacy``,
        ``aggregation``, ``seconds``, ``created``, ``simulation``, and ``result``, which is the program's.
        Exact sums have no epsilon: null.
    """
    return {
        "study": {
            "id": spec.id,
            "title": spec.title,
            "kind": spec.kind.value,
            "purpose": spec.purpose,
            "owner": spec.owner,
            "digest": study_digest(canonical_bytes(spec)).hex(),
        },
        "columns": glossary(spec.columns, declared_levels(spec), dataset=spec.data.dataset),
        "axes": axis_columns(spec),
        "rows": row_word(spec.data.dataset),
        "privacy": _privacy(spec, schedule, run),
        "aggregation": {
            "scheme": spec.aggregation.scheme.value,
            "nodes": list(spec.nodes),
            "rounds": len(run.contributors),
            "attempts": run.plans,
            "contributors": [list(nodes) for nodes in dict.fromkeys(run.contributors)],
            "lost_nodes": [{"node": n, "aggregation": a, "phase": p} for n, a, p in run.lost],
            "values": [stage.layout.values for stage in schedule.stages],
            "bytes_total": sum(t.up + t.down for t in run.totals.values()),
        },
        "seconds": {**{name: t.seconds for name, t in run.totals.items()}, "total": run.seconds},
        "created": ended.isoformat(timespec="seconds"),
        "simulation": simulation,
        "result": program_for(spec).document(run.state),
    }


def declared_levels(spec: StudySpec) -> dict[str, tuple[str, ...]]:
    """Levels that a study declares, by column; those of several statistics together."""
    match spec:
        case StatisticsStudy():
            found: dict[str, tuple[str, ...]] = {}
            for axis in (a for e in spec.statistics for a in (*e.axes, *e.where, *e.event)):
                found[axis.column] = tuple(dict.fromkeys((*found.get(axis.column, ()), *axis.levels)))
            return found
        case RegressionStudy():
            return {term.column: term.levels for term in spec.regression.terms}
        case SurvivalStudy():
            by = spec.survival.by
            return {} if by is None else {by.column: by.levels}
    return {}


def axis_columns(spec: StudySpec) -> dict[str, str]:
    """Names of a statistics study's axes -> their columns; empty where one name stands for two columns."""
    found: dict[str, str] = {}
    if isinstance(spec, StatisticsStudy):
        for axis in (axis for entry in spec.statistics for axis in entry.axes):
            found[axis.title] = axis.column if found.get(axis.title, axis.column) == axis.column else ""
    return found


def _privacy(spec: StudySpec, schedule: Schedule, run: FederatedRun) -> Mapping[str, object]:
    """Planned and spent, and what is left if all other nodes collude."""
    allowance = schedule.allowance
    always = {
        "mode": spec.privacy.mode.value,
        "unit": spec.privacy.unit,
        "exact": spec.privacy.is_exact,
        "dropouts": allowance.dropouts,
        "colluders": allowance.colluders,
    }
    if not math.isfinite(schedule.epsilon):
        return {**always, "epsilon": None, "epsilon_spent": None, "delta": None, "fallback_epsilon": None}
    return {
        **always,
        "epsilon": schedule.epsilon,
        "epsilon_spent": run.epsilon_spent,
        "delta": schedule.delta,
        "fallback_epsilon": schedule.fallback_epsilon(run.plans),
    }


def write_question(folder: Path, spec: StudySpec, document: Mapping[str, object], *, state: Arrays) -> None:
    """Write ``study.toml``, ``state.safetensors`` and, last, ``result.json``.

    Raises:
        OSError: the folder cannot be written.

    Guarantees:
        A folder made here has mode 0700 and the state 0600: of an exact study it holds what the result hides.
    """
    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    (folder / "study.toml").write_text(to_toml(spec), encoding="utf-8")
    write_arrays(folder / "state.safetensors", state)
    # A line a section: indented numbers of ten thousand cells would take a line and a microsecond each.
    lines = (
        f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False, allow_nan=False)}" for k, v in document.items()
    )
    (folder / "result.json").write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
