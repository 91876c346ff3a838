"""A statistics study at the coordinator: one sum, taken apart into a table for each statistic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedmed.errors import ConfigError
from fedmed.plans.stage import Stage
from fedmed.plans.statistics import Block, blocks, digit_bits, digits_of, most_of
from fedmed.programs.contract import Arrays, OpenedSum
from fedmed.programs.publication import Publication, publication
from fedmed.programs.statistic_tables import OpenedStatistic, ResultTable, Sums, result_table
from fedmed.study.statistics import StatisticsStudy

TOTALS = "totals"
"""Name of the opened vector: int64 digits where sums are exact, else float64 in units without scale."""
CONTRIBUTORS = "contributors"
"""Name of the roster points in the sum, int64; only where exact."""
LIMIT = "limit"
"""Name of the layout's limit, shape (1,), int64, by which digits are put together; only where exact."""
NOISE_STD = "noise_std"
"""Name of the noise in each block, shape (blocks,), in the units of the totals; only with noise."""


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
        """See `Program.absorb`: undo the scaling by which blocks with noise travel."""
        layout = opened.stage.layout
        if opened.stage.event is None:
            limit = np.array([layout.limit], dtype=np.int64)
            points = np.array(opened.contributors, dtype=np.int64)
            return {**state, TOTALS: opened.values, LIMIT: limit, CONTRIBUTORS: points}
        found = blocks(self.spec)
        scales = np.repeat([block.scale for block in found], [block.cells for block in found])
        noise = layout.noise_scale * layout.grid * math.sqrt(len(opened.contributors))
        stds = np.array([noise / block.scale for block in found])
        return {**state, TOTALS: opened.values / scales, NOISE_STD: stds}

    def is_finished(self, state: Arrays) -> bool:
        """See `Program.is_finished`: one sum is all."""
        return TOTALS in state

    def trace(self, state: Arrays) -> Arrays:
        """See `Program.trace`: the final state says it all."""
        del state
        return {}

    def document(self, state: Arrays) -> Mapping[str, object]:
        """See `Program.document`: for each statistic a `ResultTable`, exact ones with blanks.

        What was published before is not known here; whoever keeps a register asks `published` instead.
        """
        if NOISE_STD in state:
            return statistics_document(self.spec, result_tables(self.spec, state))
        return statistics_document(self.spec, published(self.spec, state).tables)


def statistics_document(spec: StatisticsStudy, tables: Iterable[ResultTable]) -> Mapping[str, object]:
    """The result as JSON.

    Args:
        spec: The study.
        tables: What may be shown.
    """
    return {
        "exact": spec.privacy.is_exact,
        "minimum_cell": spec.privacy.minimum_cell,
        "max_rows_per_person": spec.data.max_rows_per_person,
        "statistics": [table.document() for table in tables],
    }


def published(
    spec: StatisticsStudy, state: Arrays, *, earlier: Sequence[Mapping[str, Any]] = ()
) -> Publication:
    """What an exact study may show.

    Args:
        spec: The study.
        state: Its final state.
        earlier: Records of what was published of the same dataset version, see `Publication.record`.

    Raises:
        ConfigError: the study's sums carry noise: there is nothing to hide.
    """
    minimum = spec.privacy.minimum_cell
    if minimum is None:
        raise ConfigError("sums with noise are published as they are: only exact ones have blanks")
    return publication(
        opened_statistics(spec, state),
        contributors=[spec.nodes[point - 1] for point in state[CONTRIBUTORS]],
        max_rows_per_person=spec.data.max_rows_per_person,
        minimum=minimum,
        earlier=earlier,
    )


def result_tables(spec: StatisticsStudy, state: Arrays) -> tuple[ResultTable, ...]:
    """The table of every statistic of a finished study, in its order; nothing hidden."""
    return tuple(result_table(opened) for opened in opened_statistics(spec, state))


def opened_statistics(spec: StatisticsStudy, state: Arrays) -> tuple[OpenedStatistic, ...]:
    """The sums of every statistic, in the study's order.

    Args:
        spec: The study.
        state: Its final state.
    """
    found = blocks(spec)
    taken = _exact_sums(spec, found, state) if NOISE_STD not in state else _noisy_sums(found, state)
    noise = state.get(NOISE_STD)
    opened = []
    for place, entry in enumerate(spec.statistics):
        mine = [i for i, block in enumerate(found) if block.statistic == place]
        opened.append(
            OpenedStatistic(
                entry=entry,
                sums={found[i].moment: taken[i] for i in mine},
                noise={} if noise is None else {found[i].moment: float(noise[i]) for i in mine},
                shift=max((found[i].shift for i in mine), key=abs),
            )
        )
    return tuple(opened)


def _exact_sums(spec: StatisticsStudy, found: tuple[Block, ...], state: Arrays) -> list[Sums]:
    """Whole numbers of every block, put together from their digits."""
    vector, limit, at, taken = state[TOTALS], int(state[LIMIT][0]), 0, []
    for block in found:
        count = digits_of(most_of(spec, block), limit)
        digits = vector[at : at + count * block.cells].astype(object).reshape(count, block.cells)
        at += count * block.cells
        taken.append(sum(digits[i] << (digit_bits(limit) * i) for i in range(count)))
    return taken


def _noisy_sums(found: tuple[Block, ...], state: Arrays) -> list[Sums]:
    """Numbers of every block."""
    ends = np.cumsum([block.cells for block in found])
    return list(np.split(state[TOTALS], ends[:-1]))
