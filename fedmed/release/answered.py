"""The outcome of a study of statistics, regression or survival: its result is what the opened sums give.

The program is a pure fold, so the result document is made anew from the sums and compared with the one in
the release, number by number.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fedmed.errors import ReleaseBroken
from fedmed.outcome import FederatedRun
from fedmed.phase_record import spent
from fedmed.programs.contract import Arrays
from fedmed.programs.statistics import published, statistics_document
from fedmed.protocol.schedule import Schedule
from fedmed.question import question_document
from fedmed.release.bundle import EARLIER, RESULT, Release
from fedmed.release.found import Verified
from fedmed.release.rounds import Rounds
from fedmed.release.trail import named, need
from fedmed.report.units import plural
from fedmed.study import StatisticsStudy, StudySpec

TOLERANCE: Final = 1e-6
"""Relative: linear algebra and the accountant give other last digits on another machine."""

_COVERED: Final = ("study", "columns", "privacy", "simulation", "result")
_COVERED_COUNTS: Final = ("scheme", "nodes", "rounds", "attempts", "contributors", "values")


def result_holds(
    release: Release, *, schedule: Schedule, rounds: Rounds, state: Arrays
) -> Iterator[Verified]:
    """Every number and every blank of the result is what the rounds give.

    Args:
        release: The release.
        schedule: The study worked out.
        rounds: All rounds, followed.
        state: The program's state after the last sum.

    Raises:
        ReleaseBroken: names the first place of the result that differs.

    Guarantees:
        A number may differ by a relative `TOLERANCE`, everything else not at all. Losses, bytes and seconds
        are not covered; but nothing is in the document that a result does not have, nor is a name in it
        twice, of which two readers may take two values.
    """
    due = _document(release, schedule, rounds=rounds, state=state)
    with named(RESULT):
        told = _told(release.files[RESULT])
        _require_parts(told, due, place="it")
        for name in _COVERED:
            require_same(told.get(name), due[name], place=name)
        counts = told["aggregation"]
        _require_parts(counts, due["aggregation"], place="aggregation")
        for name in _COVERED_COUNTS:
            require_same(counts.get(name), due["aggregation"][name], place=f"aggregation.{name}")
    yield Verified(name="privacy", detail=_protection(release.spec, schedule, plans=len(rounds.attempts)))
    yield Verified(
        name="result",
        detail=f"{plural(_numbers(due['result']), 'number')} of the answer recomputed from the sums; losses, "
        "bytes and times are not covered",
    )


def _told(data: bytes) -> Mapping[str, Any]:
    """The result document as it was released; Any: JSON."""
    found = json.loads(data, object_pairs_hook=_named_once)
    need(isinstance(found, dict), "it is no result document")
    told: Mapping[str, Any] = found
    return told


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:  # Any: JSON
    """An object in which no name occurs twice."""
    found = dict(pairs)
    need(len(found) == len(pairs), "a name occurs twice in it")
    return found


def _require_parts(told: Any, due: Mapping[str, Any], *, place: str) -> None:  # Any: JSON
    """Raise `ReleaseBroken` unless both have the same names."""
    same = isinstance(told, dict) and told.keys() == due.keys()
    need(same, f"{place} has other parts than the result of such a study")


def _document(release: Release, schedule: Schedule, *, rounds: Rounds, state: Arrays) -> Any:  # JSON
    """The result document made anew, as JSON says it."""
    spec = release.spec
    run = FederatedRun(
        state=state,
        history=(),
        contributors=tuple(tuple(spec.nodes[p - 1] for p in a.contributors) for a in rounds.opened),
        plans=len(rounds.attempts),
        lost=(),
        totals={},
        seconds=0.0,
        epsilon_spent=spent(schedule, len(rounds.attempts)),
    )
    with named("result"):
        made = dict(question_document(spec, schedule, run, ended=release.ended, simulation=False))
    if isinstance(spec, StatisticsStudy) and spec.privacy.is_exact:
        with named(EARLIER):
            tables = published(spec, state, earlier=_earlier(release.files[EARLIER])).tables
        made["result"] = statistics_document(spec, tables)
    return json.loads(json.dumps(made, allow_nan=False))


def _earlier(data: bytes) -> list[Mapping[str, Any]]:  # Any: JSON
    """Records of earlier publications, as the coordinator gives them."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not (isinstance(found, list) and all(isinstance(record, dict) for record in found)):
        raise ReleaseBroken("it is no list of records")
    return found


def require_same(told: Any, due: Any, *, place: str) -> None:  # Any: JSON
    """Raise `ReleaseBroken` at the first difference, which is named by its place and never by its value."""
    if isinstance(due, dict) and isinstance(told, dict):
        need(told.keys() == due.keys(), f"{place} has other parts than the opened sums give")
        for name, value in due.items():
            require_same(told[name], value, place=f"{place}.{name}")
    elif isinstance(due, list) and isinstance(told, list):
        need(len(told) == len(due), f"{place} has another length than the opened sums give")
        for number, (one, other) in enumerate(zip(told, due, strict=True)):
            require_same(one, other, place=f"{place}[{number}]")
    else:
        need(_agree(told, due), f"{place} is not what the opened sums give")


def _agree(told: Any, due: Any) -> bool:  # Any: JSON
    """Equal, and of one type; numbers with a fraction within `TOLERANCE`."""
    if isinstance(due, float) and isinstance(told, float):
        return math.isclose(told, due, rel_tol=TOLERANCE, abs_tol=1e-12)
    return type(told) is type(due) and bool(told == due)


def _numbers(value: Any) -> int:  # Any: JSON
    """How many numbers a document holds; blanks count, for a blank is said as well."""
    if isinstance(value, dict):
        return sum(_numbers(each) for each in value.values())
    if isinstance(value, list):
        return sum(_numbers(each) for each in value)
    return not isinstance(value, str | bool)


def _protection(spec: StudySpec, schedule: Schedule, *, plans: int) -> str:
    """What protects the persons, as far as it was worked out anew."""
    if spec.privacy.is_exact:
        return "exact sums, no epsilon; blanks are decided with the earlier publications as the bundle says"
    return f"epsilon {spent(schedule, plans):.6f} spent of {schedule.epsilon:g}, recomputed"
