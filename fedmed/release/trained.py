"""The outcome of a training study: model and result are what the opened sums and the plans give."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from fedmed.outcome import privacy_part
from fedmed.phase_record import spent
from fedmed.plans.training import model_of
from fedmed.programs.contract import Arrays
from fedmed.programs.training import PARAMETERS
from fedmed.protocol.schedule import Schedule
from fedmed.release.bundle import MODEL, RESULT, Release, read_tensors
from fedmed.release.found import Verified
from fedmed.release.rounds import Rounds
from fedmed.release.trail import named, need
from fedmed.report.result import PrivacyPart, Result
from fedmed.study import TrainingStudy
from fedmed.types import FloatArray

# Epsilon comes out of Fourier transforms whose last digits differ from machine to machine.
EPSILON_TOLERANCE = 1e-9


def model_holds(
    release: Release, spec: TrainingStudy, *, schedule: Schedule, rounds: Rounds, state: Arrays
) -> Iterator[Verified]:
    """The model and the result are what the rounds give.

    Args:
        release: The release.
        spec: Its study.
        schedule: The study worked out.
        rounds: All rounds, followed.
        state: The program's state after the last sum.

    Raises:
        ReleaseBroken: names what does not hold.
    """
    parameters: FloatArray = state[PARAMETERS]
    due, tensors = model_of(spec).split(parameters), read_tensors(release.files, MODEL)
    need(set(tensors) == set(due), f"{MODEL} has other arrays")
    for name, array in due.items():
        same = tensors[name].dtype == np.float64 and np.array_equal(tensors[name], array)
        need(same, f"{MODEL}: {name} is not what the opened sums give")
    yield Verified(name="model", detail=f"{len(parameters)} parameters, bit by bit what the sums give")
    plans = len(rounds.attempts)
    with named(RESULT):
        result = Result.from_json(release.files[RESULT])
        _check_privacy(result.privacy, privacy_part(spec, schedule, plans), plans=plans)
        _check_rest(release, spec, result, schedule=schedule, rounds=rounds)
    detail = f"epsilon {spent(schedule, plans):.6f} spent of {schedule.epsilon:g}, recomputed"
    yield Verified(name="privacy", detail=detail)
    yield Verified(
        name="result", detail="study, nodes, sets and attempts agree; scores and times are not covered"
    )


def _check_privacy(told: PrivacyPart, due: PrivacyPart, *, plans: int) -> None:
    """Every figure of the guarantee is the one that the accountant gives for this many plans."""
    found = told.model_dump()
    for name, value in due.model_dump().items():
        need(_agree(found[name], value), f"privacy.{name} is not what {plans} plans of this study give")


def _agree(told: Any, due: Any) -> bool:  # Any: figures and words of a document
    """Equal, or equal within `EPSILON_TOLERANCE`."""
    if isinstance(due, float) and isinstance(told, float):
        return abs(told - due) <= EPSILON_TOLERANCE * abs(due)
    return bool(told == due)


def _check_rest(
    release: Release, spec: TrainingStudy, result: Result, *, schedule: Schedule, rounds: Rounds
) -> None:
    """Study, nodes, sets and counts of the result are those of the exchanges."""
    told, sums = result.study, result.aggregation
    named_sets = tuple(tuple(spec.nodes[p - 1] for p in a.contributors) for a in rounds.opened)
    pairs = {
        "study": (
            (told.id, told.title, told.digest, told.purpose, told.owner),
            (spec.id, spec.title, release.study_digest.hex(), spec.purpose, spec.owner),
        ),
        "nodes": (
            tuple((n.key, n.point, n.declared_persons) for n in result.nodes),
            tuple((n, p, spec.data.declared_persons[n]) for p, n in enumerate(spec.nodes, start=1)),
        ),
        "aggregation.contributors": (sums.contributors, tuple(dict.fromkeys(named_sets))),
        "aggregation": (
            (sums.scheme, sums.nodes, sums.aggregations, sums.attempts, sums.values, sums.parameter_set),
            (
                spec.aggregation.scheme,
                len(spec.nodes),
                len(rounds.opened),
                len(rounds.attempts),
                schedule.layout.values,
                schedule.layout.parameter_set,
            ),
        ),
    }
    for name, (found, due) in pairs.items():
        need(found == due, f"{name} is not what the exchanges show")
