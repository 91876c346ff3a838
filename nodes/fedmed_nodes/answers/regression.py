"""A node's half of a regression: rows to Newton sums, exact to a public resolution or bounded by person."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmed.analytics.families import Family
from fedmed.analytics.model import ModelRows
from fedmed.analytics.persons import person_counts
from fedmed.errors import ParametersUnfit
from fedmed.plans.regression import bounded_model, design_of, exact_model, scales
from fedmed.plans.stage import Stage
from fedmed.privacy.clipping import ClippedSum
from fedmed.study.regression import RegressionStudy
from fedmed.types import FloatArray, RoundKind
from fedmed_nodes.answers.model_rows import coded_terms, offsets, outcomes, read_rows, times
from fedmed_nodes.sources import RowSource

LARGEST_PARAMETER = 2.0**40
"""Beyond it inputs are refused, as in training (PROTOCOL.md section 5)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionHalf:
    """A `fedmed_nodes.answers.contract.NodeHalf`."""

    spec: RegressionStudy

    def prove(self) -> None:
        """See `NodeHalf.prove`: rows meet in sums only, by elementwise arithmetic."""

    def check_inputs(self, stage: Stage, inputs: FloatArray) -> None:
        """See `NodeHalf.check_inputs`: parameters that are not absurd."""
        del stage
        if bool(np.any(np.abs(inputs) > LARGEST_PARAMETER)):
            raise ParametersUnfit(f"parameters must lie within {LARGEST_PARAMETER:g} of zero")

    def read(self, source: RowSource) -> RegressionAnswerer:
        """See `NodeHalf.read`: coded rows, grouped by person."""
        coded = functools.partial(_coded, spec=self.spec)
        most = self.spec.regression.max_rows_per_person
        rows = read_rows(source, self.spec, coded, max_rows_per_person=most)
        return RegressionAnswerer(spec=self.spec, rows=rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegressionAnswerer:
    """A `fedmed_nodes.answers.contract.Answerer`.

    Attributes:
        spec: The study.
        rows: Rows that count.
    """

    spec: RegressionStudy
    rows: ModelRows

    def answer(self, stage: Stage, inputs: FloatArray) -> ClippedSum:
        """See `Answerer.answer`; exact sums that do not fit their limit say so and nothing else."""
        if stage.event is not None:
            return bounded_model(self.spec).node_sum(inputs, self.rows)
        if stage.kind is RoundKind.SUPPORT:
            sums = person_counts(self.rows, exact_model(self.spec))
        else:
            sums = exact_model(self.spec).sums(inputs, self.rows)
        return ClippedSum(values=scales(self.spec, stage).to_units(sums), clip_norm=stage.clip_norm)


def _coded(rows: pa.Table, spec: RegressionStudy) -> tuple[ModelRows, npt.NDArray[np.bool_]]:
    """The usable rows of a chunk, each as if it were a person, and which they are."""
    fit = spec.regression
    matrix, usable = coded_terms(rows, design_of(spec))
    places = np.zeros(rows.num_rows, dtype=np.int64)
    if fit.time is not None:
        places, outcome, has_outcome = times(rows, fit.time)
    elif fit.outcome is not None:
        outcome, has_outcome = outcomes(rows, fit.outcome, Family(fit.family))
    offset, has_exposure = offsets(rows, fit.exposure)
    usable &= has_outcome & has_exposure
    part = ModelRows(
        matrix=matrix[usable],
        outcome=outcome[usable],
        places=places[usable],
        offset=offset[usable],
        starts=np.arange(int(usable.sum()) + 1),
    )
    return part, usable
