"""A study of survival at the coordinator: one table of counts, read as curves and a test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from fedmed.analytics.survival import (
    CurvePoint,
    kaplan_meier,
    log_rank,
    merged,
    rounded,
    seen_times,
    shown_grid,
    shown_points,
)
from fedmed.errors import DataContractError
from fedmed.plans.stage import Stage
from fedmed.programs.contract import Arrays, OpenedSum
from fedmed.study.survival import CurvesTable, SurvivalStudy
from fedmed.types import FloatArray, IntArray

COUNTS = "counts"
"""Name of the result: shape (groups, 2, times), int64, or float64 with noise: censored, then events."""
NOISE_STD = "noise_std"
"""Name of the standard deviation of the noise in each count, shape (1,); 0 where counts are exact."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalProgram:
    """A `fedmed.programs.contract.Program`."""

    spec: SurvivalStudy

    def begin(self) -> Arrays:
        """See `Program.begin`: nothing is known."""
        return {}

    def inputs(self, state: Arrays, stage: Stage) -> bytes:
        """See `Program.inputs`: a curve needs nothing but rows."""
        del state, stage
        return b""

    def absorb(self, state: Arrays, opened: OpenedSum) -> Arrays:
        """See `Program.absorb`."""
        layout = opened.stage.layout
        noise = layout.noise_scale * layout.grid * math.sqrt(len(opened.contributors))
        table = opened.values.reshape(self.spec.survival.groups, 2, -1)
        return {**state, COUNTS: table, NOISE_STD: np.array([noise])}

    def is_finished(self, state: Arrays) -> bool:
        """See `Program.is_finished`: one sum is all."""
        return COUNTS in state

    def trace(self, state: Arrays) -> Arrays:
        """See `Program.trace`: the final state says it all."""
        del state
        return {}

    def document(self, state: Arrays) -> Mapping[str, object]:
        """See `Program.document`: points of each curve, and the log-rank test of several.

        The exact test is left out where a few persons of a group had the event, or were censored: with the
        other curves its three digits could tell how many.

        Raises:
            DataContractError: a group is too small to be shown, or no point of any curve may be shown.
        """
        table, counts = self.spec.survival, state[COUNTS]
        is_exact, variance = self.spec.privacy.is_exact, float(state[NOISE_STD][0]) ** 2
        if is_exact:
            _require_persons(counts, table)
        shows_test = table.groups > 1 and not (is_exact and _has_small_part(counts, table))
        test = log_rank(counts, noise_variance=variance) if shows_test else None
        curves = [
            _exact_points(own, table) if is_exact else _noisy_points(own, table, noise_variance=variance)
            for own in counts
        ]
        if not any(curves):
            raise DataContractError(_nothing_shown(table, is_exact=is_exact))
        return {
            "exact": is_exact,
            "confidence": table.confidence,
            "by": None if table.by is None else table.by.column,
            "time": table.time.column,
            "event": table.time.event,
            "start": table.time.start,
            "noise_std": None if is_exact else math.sqrt(variance),
            "curves": [
                {"group": name, "points": [asdict(point) for point in points]}
                for name, points in zip(table.names, curves, strict=True)
            ],
            "log_rank": None if test is None else asdict(rounded(test) if is_exact else test),
        }


def _require_persons(counts: IntArray, table: CurvesTable) -> None:
    """Raise `DataContractError` for a group that is too small to be shown."""
    for name, own in zip(table.names, counts, strict=True):
        if own.sum() < table.min_cell:
            raise DataContractError(
                f"group {name} holds fewer than {table.min_cell} persons: merge it with another group, "
                f"or leave it out; {_fallen(table)}"
            )


def _has_small_part(counts: IntArray, table: CurvesTable) -> bool:
    """Whether fewer persons of some group than may be shown, and not nobody, left in one of the two ways."""
    ways = counts.sum(axis=2)
    return bool(np.any((ways > 0) & (ways < table.min_cell)))


def _nothing_shown(table: CurvesTable, *, is_exact: bool) -> str:
    """Cause and remedy of a study whose curves have no point."""
    if is_exact:
        return (
            f"no point may be shown: of no group did {table.min_cell} persons or more have the event within "
            "the grid, with as many at risk afterwards or nobody: merge groups, or take more or wider "
            f"intervals; {_fallen(table)}"
        )
    return (
        "the noise hides every curve: raise epsilon, widen the cohort, merge groups, or take fewer "
        f"intervals; {_fallen(table)}"
    )


def _fallen(table: CurvesTable) -> str:
    """Which rows do not count."""
    time = table.time
    return (
        f"rows whose {time.column} is missing or below {time.start:g}, or whose {time.event} is neither 1 "
        "(event) nor 0 (censored), do not count"
    )


def _exact_points(counts: IntArray, table: CurvesTable) -> tuple[CurvePoint, ...]:
    """The curve of the counts that may be shown, and of nothing else."""
    lasts = shown_grid(counts, min_cell=table.min_cell)
    curve = kaplan_meier(merged(counts, lasts), level=table.confidence)
    return shown_points(curve, tuple(table.time.ends[last] for last in lasts))


def _noisy_points(counts: FloatArray, table: CurvesTable, *, noise_variance: float) -> tuple[CurvePoint, ...]:
    """The curve as far as persons stand out of the noise, which protects every point."""
    curve = kaplan_meier(counts, level=table.confidence, noise_variance=noise_variance)
    seen = seen_times(curve.at_risk, noise_variance=noise_variance)
    return shown_points(curve, table.time.ends[:seen])
