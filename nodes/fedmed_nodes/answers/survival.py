"""A node's half of a study of survival: each person is one count, by group, kind of leaving and time."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from fedmed.analytics.model import ModelRows
from fedmed.analytics.survival import node_counts
from fedmed.data.columns import as_text, column
from fedmed.plans.stage import Stage
from fedmed.privacy.clipping import ClippedSum
from fedmed.study.survival import GroupsTable, SurvivalStudy
from fedmed.types import FloatArray, IntArray
from fedmed_nodes.answers.model_rows import read_rows, times
from fedmed_nodes.sources import RowSource


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalHalf:
    """A `fedmed_nodes.answers.contract.NodeHalf`."""

    spec: SurvivalStudy

    def prove(self) -> None:
        """See `NodeHalf.prove`: integers are added, so there is nothing to prove of a machine."""

    def check_inputs(self, stage: Stage, inputs: FloatArray) -> None:
        """See `NodeHalf.check_inputs`: there are none."""

    def read(self, source: RowSource) -> SurvivalAnswerer:
        """See `NodeHalf.read`: counts are all that is kept of the rows."""
        table = self.spec.survival
        coded = functools.partial(_coded, spec=self.spec)
        kept = read_rows(source, self.spec, coded, max_rows_per_person=1)
        counts = node_counts(
            time=kept.places,
            event=kept.outcome,
            group=kept.matrix[:, 0].astype(np.int64),
            times=table.time.intervals,
            groups=table.groups,
        )
        return SurvivalAnswerer(counts=counts)


@dataclass(frozen=True, slots=True, kw_only=True)
class SurvivalAnswerer:
    """A `fedmed_nodes.answers.contract.Answerer`.

    Attributes:
        counts: Shape (groups, 2, times), int64: censored, then events.
    """

    counts: IntArray

    def answer(self, stage: Stage, inputs: FloatArray) -> ClippedSum:
        """See `Answerer.answer`."""
        del inputs
        counts = self.counts.ravel()
        values = counts.copy() if stage.event is None else counts.astype(np.float64)
        return ClippedSum(values=values, clip_norm=stage.clip_norm)


def _coded(rows: pa.Table, spec: SurvivalStudy) -> tuple[ModelRows, npt.NDArray[np.bool_]]:
    """The usable rows of a chunk with the group as their only column, and which they are."""
    places, events, usable = times(rows, spec.survival.time)
    group = np.zeros(rows.num_rows, dtype=np.int64)
    if spec.survival.by is not None:
        group, known = _groups(rows, spec.survival.by)
        usable &= known
    count = int(usable.sum())
    part = ModelRows(
        matrix=group[usable, None].astype(np.float64),
        outcome=events[usable],
        places=places[usable],
        offset=np.zeros(count),
        starts=np.arange(count + 1),
    )
    return part, usable


def _groups(rows: pa.Table, by: GroupsTable) -> tuple[IntArray, npt.NDArray[np.bool_]]:
    """Each row's group, and whether it has one."""
    text = as_text(column(rows, by.column), name=by.column)
    found = pc.fill_null(pc.index_in(text, value_set=pa.array(by.levels, pa.string())), -1)
    place = np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.int64)
    return np.maximum(place, 0), place >= 0
