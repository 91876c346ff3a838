"""A study of survival at the coordinator: one table of counts, read as curves and a test."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from fedmed.analytics.survival import kaplan_meier, log_rank, shown_points
from fedmed.errors import DataContractError
from fedmed.plans.stage import Stage
from fedmed.programs.contract import Arrays, OpenedSum
from fedmed.study.survival import SurvivalStudy

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

        Raises:
            DataContractError: a group is too small to be shown.
        """
        table, counts = self.spec.survival, state[COUNTS]
        is_exact, variance = self.spec.privacy.is_exact, float(state[NOISE_STD][0]) ** 2
        groups = []
        for name, own in zip(table.names, counts, strict=True):
            if is_exact and own.sum() < table.min_cell:
                raise DataContractError(
                    f"group {name} holds fewer than {table.min_cell} persons: merge it with another group, "
                    "or leave it out"
                )
            curve = kaplan_meier(own, level=table.confidence, noise_variance=variance)
            points = shown_points(curve, table.time.ends, min_cell=table.min_cell if is_exact else 0)
            groups.append({"group": name, "points": [asdict(point) for point in points]})
        return {
            "exact": is_exact,
            "confidence": table.confidence,
            "by": None if table.by is None else table.by.column,
            "time": table.time.column,
            "start": table.time.start,
            "noise_std": None if is_exact else math.sqrt(variance),
            "curves": groups,
            "log_rank": asdict(log_rank(counts, noise_variance=variance)) if table.groups > 1 else None,
        }
