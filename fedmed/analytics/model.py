"""A regression of any family as one vector of sums: what a node adds up, and what it means in total.

Generalised linear models and Cox's differ in what they sum. Here they get one face, so that the rounds, the
fixed point and the Newton iteration know one thing only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedmed.analytics import cox
from fedmed.analytics.design import Design
from fedmed.analytics.families import Evaluation, Family, evaluate, pack, packed_size, unpack
from fedmed.analytics.support import Support, read_support, support_counts, support_size
from fedmed.types import FloatArray, IntArray, require

# At a fit few persons have a relative risk beyond this; more of them use up the headroom.
_USUAL_RISK = 64.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRows:
    """Rows of one node, coded, grouped by person.

    Attributes:
        matrix: Shape (rows, coefficients), float64.
        outcome: Shape (rows,): the outcome, or 1 for an event and 0 for censoring.
        places: Shape (rows,), int64: place of the time on the public grid; zeros where there is no time.
        offset: Shape (rows,), added to the linear predictor: the log of an exposure, or zeros.
        starts: Shape (persons + 1,), int64: where each person's rows begin, and their number.
    """

    matrix: FloatArray
    outcome: FloatArray
    places: IntArray
    offset: FloatArray
    starts: IntArray

    def __post_init__(self) -> None:
        for array in (self.matrix, self.outcome, self.places, self.offset, self.starts):
            array.setflags(write=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """What is fitted.

    Attributes:
        design: The terms; with an intercept except for Cox's model.
        family: Distribution of the outcome; None = Cox's model.
        low: Public lower bound of the outcome.
        high: Public upper bound of the outcome.
        times: Points of the public grid of Cox's model; 0 otherwise.
        exposure: Public bounds of the exposure whose log is the rows' offset; ones where there is none.
    """

    design: Design
    family: Family | None
    low: float = 0.0
    high: float = 1.0
    times: int = 0
    exposure: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        require(
            (self.family is None) == (self.times > 0), "Cox's model has a grid of times, others have none"
        )
        require(0 < self.exposure[0] <= self.exposure[1], "bounds of the exposure must be > 0 and rise")

    @property
    def typical_offset(self) -> float:
        """Middle of the public bounds of the offset; 0 without an exposure."""
        return (math.log(self.exposure[0]) + math.log(self.exposure[1])) / 2

    @property
    def coefficients(self) -> int:
        """Number of coefficients."""
        return len(self.design.labels)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all parameters."""
        return (*self.design.labels, *(() if self.family is None else self.family.extra))

    @property
    def size(self) -> int:
        """Values of a node's vector."""
        own = (
            cox.packed_size(self.times, self.coefficients)
            if self.family is None
            else packed_size(len(self.labels))
        )
        return support_size(self.coefficients) + own

    def start(self) -> FloatArray:
        """Parameters to begin with, from public facts alone; shape (parameters,)."""
        start = np.zeros(len(self.labels))
        if (
            self.family is Family.GAMMA
        ):  # the sums stay within range: y / mean is at most the root of high / low
            start[0] = (np.log(self.low) + np.log(self.high)) / 2 - self.typical_offset
        elif self.exposure != (1.0, 1.0):  # nobody's expectation is above 1, however long the exposure
            start[0] = -math.log(self.exposure[1])
        return start

    def row_bounds(self) -> FloatArray:
        """What one row adds to each value at most near a fit, shape (size,); see `fixed_point`."""
        ones = np.ones(support_size(self.coefficients))
        if self.family is None:
            moments = cox.packed_size(self.times, self.coefficients) - self.times - self.coefficients
            return np.concatenate(
                [ones, np.full(moments, _USUAL_RISK), np.ones(self.times + self.coefficients)]
            )
        most = max(1.0, abs(self.high))
        outcome, likelihood = most, most * (1 + np.log1p(most))
        slope = float(np.sqrt(self.high / self.low)) if self.family is Family.GAMMA else most
        scalars = [1.0, outcome, likelihood, 2 * likelihood, slope**2]
        rest = packed_size(len(self.labels)) - len(scalars)
        return np.concatenate([ones, scalars, np.full(rest, slope)])

    def sums(self, parameters: FloatArray, rows: ModelRows) -> FloatArray:
        """One node's vector.

        Args:
            parameters: Shape (parameters,).
            rows: The node's rows.

        Returns:
            Shape (size,), float64; not finite where the parameters are hopeless. Nothing raises by a row.
        """
        counted = support_counts(rows.matrix, rows.outcome > 0, is_number=self.design.is_number)
        with np.errstate(all="ignore"):
            if self.family is None:
                own = cox.node_sums(
                    parameters,
                    design=rows.matrix,
                    time=rows.places,
                    event=rows.outcome,
                    times=self.times,
                )
            else:
                found = evaluate(
                    self.family,
                    parameters,
                    design=rows.matrix,
                    outcome=rows.outcome,
                    offset=rows.offset,
                )
                own = pack(found)
        return np.concatenate([counted, own])

    def read(self, total: FloatArray, parameters: FloatArray) -> tuple[Support, Evaluation]:
        """What the federation's vector means.

        Args:
            total: Shape (size,), summed over nodes; finite.
            parameters: Where it was evaluated.
        """
        support = read_support(total[: support_size(self.coefficients)])
        own = total[support_size(self.coefficients) :]
        if self.family is not None:
            return support, unpack(own, len(self.labels))
        with np.errstate(all="ignore"):  # far off, risks lose their digits: not finite, so a step too long
            found = cox.objective(own, parameters, times=self.times)
        return support, Evaluation(
            rows=support.rows,
            outcome=support.events,
            log_likelihood=found.value,
            deviance=np.nan,
            pearson=np.nan,
            score=found.score,
            information=found.information,
        )
