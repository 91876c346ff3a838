"""A statistics study at the coordinator: one sum, read as a table."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedmed.plans.stage import Stage
from fedmed.plans.statistics import measure_bounds
from fedmed.programs.contract import Arrays, OpenedSum
from fedmed.study.statistics import StatisticsStudy
from fedmed.types import FloatArray, IntArray

TOTALS = "totals"
"""Name of the result: shape (measures, cells), int64 units of the last decimal, or float64 with noise."""
NOISE_STD = "noise_std"
"""Name of the noise in each measure, shape (measures,), in the units of the totals; only with noise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatisticsProgram:
    """A `fedmed.programs.contract.Program`."""

    spec: StatisticsStudy

    def begin(self) -> Arrays:
        """See `Program.begin`: nothing is known."""
        return {}

    def inputs(self, state: Arrays, stage: Stage) -> bytes:
        """See `Program.inputs`: a statistics round computes on nothing but rows."""
        del state, stage
        return b""

    def absorb(self, state: Arrays, opened: OpenedSum) -> Arrays:
        """See `Program.absorb`: undo the scaling by which measures with noise travel."""
        table = opened.values.reshape(len(self.spec.statistics.measures), -1)
        if opened.stage.event is None:
            return {**state, TOTALS: table}
        bounds = np.array(measure_bounds(self.spec), dtype=np.float64)
        layout, shares = opened.stage.layout, len(opened.contributors)
        noise = bounds * layout.noise_scale * layout.grid * math.sqrt(shares)
        return {**state, TOTALS: table * bounds[:, None], NOISE_STD: noise}

    def is_finished(self, state: Arrays) -> bool:
        """See `Program.is_finished`: one sum is all."""
        return TOTALS in state

    def trace(self, state: Arrays) -> Arrays:
        """See `Program.trace`: the final state says it all."""
        del state
        return {}

    def document(self, state: Arrays) -> Mapping[str, object]:
        """See `Program.document`: one row a cell, with the categories by column and the measures by name.

        Exact totals are integers in units of the last decimal (`decimals` of each measure); with noise they
        are numbers in the column's unit, and `noise_std` says how large the noise is.
        """
        table = self.spec.statistics
        totals: IntArray | FloatArray = state[TOTALS]
        is_exact = NOISE_STD not in state
        scales = [None if is_exact else 10**m.decimals for m in table.measures]
        names = [m.name for m in table.measures]
        cells = itertools.product(*(entry.categories for entry in table.by))
        rows = [
            {
                "by": dict(zip((entry.column for entry in table.by), cell, strict=True)),
                **{n: _shown(v, s) for n, v, s in zip(names, column, scales, strict=True)},
            }
            for cell, column in zip(cells, totals.T, strict=True)
        ]
        measures = [
            {
                "name": m.name,
                "kind": m.kind,
                "decimals": m.decimals,
                "noise_std": None if is_exact else _shown(state[NOISE_STD][place], scales[place]),
            }
            for place, m in enumerate(table.measures)
        ]
        return {"exact": is_exact, "measures": measures, "cells": rows}


def _shown(value: np.int64 | np.float64, scale: int | None) -> int | float:
    """A total as JSON: whole units where it is exact, else a number in the column's unit."""
    return int(value) if scale is None else float(value) / scale
