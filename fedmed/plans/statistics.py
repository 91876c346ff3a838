"""The one stage of a statistics study: where each sum lies in the vector, its bound, its share of the noise.

Every statistic is a few *blocks*: one sum a cell, of rows, of persons or of a value. Exact blocks are whole
numbers; one that could outgrow a field travels as several digits of a large base. With noise each block is
divided by what one person can add to it, so that the whole vector has one sensitivity.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from fedmed.aggregation.encoding import Carrier, SumBounds, exact_layout, widest_limit
from fedmed.errors import ConfigError
from fedmed.plans.stage import Ground, Stage, noisy_stage
from fedmed.privacy.accounting import noise_multiplier_for
from fedmed.study.axes import ValueTable
from fedmed.study.statistics import StatisticKind, StatisticsStudy, StatisticTable
from fedmed.types import IntArray, RoundKind

VECTOR_NORM = 1.0
"""L2 bound of one person's part of a vector with noise, after scaling."""
# Rounding of scales and quotients must not lift a person's part above the bound (`ClippedSum.clip_norm`).
_SLACK = 1 - 2.0**-19


class Moment(Enum):
    """What one block adds up in every cell."""

    PERSONS = "persons"
    ROWS = "rows"
    TOTAL = "total"
    SQUARES = "squares"
    DENOMINATOR = "denominator"
    EVENTS = "events"
    CONCENTRATION = "concentration"
    """Squares of each person's part of the total, in a coarse unit and rounded up (`person_steps`)."""
    DENOMINATOR_CONCENTRATION = "denominator_concentration"
    OFF_LOW = "off_low"
    """Persons with a value above its lower bound, or with an event."""
    OFF_HIGH = "off_high"
    """Persons with a value below its upper bound, or with a row that is no event."""
    DENOMINATOR_OFF_LOW = "denominator_off_low"
    DENOMINATOR_OFF_HIGH = "denominator_off_high"


CONCENTRATIONS = frozenset({Moment.CONCENTRATION, Moment.DENOMINATOR_CONCENTRATION})
OFF_LOWS = frozenset({Moment.OFF_LOW, Moment.DENOMINATOR_OFF_LOW})
OFF_BOUNDS = OFF_LOWS | {Moment.OFF_HIGH, Moment.DENOMINATOR_OFF_HIGH}
DENOMINATORS = frozenset(moment for moment in Moment if moment.value.startswith("denominator"))
GUARDS: Mapping[Moment, tuple[Moment, ...]] = {
    Moment.TOTAL: (Moment.CONCENTRATION, Moment.OFF_LOW, Moment.OFF_HIGH),
    Moment.SQUARES: (Moment.OFF_LOW, Moment.OFF_HIGH),
    Moment.DENOMINATOR: (
        Moment.DENOMINATOR_CONCENTRATION,
        Moment.DENOMINATOR_OFF_LOW,
        Moment.DENOMINATOR_OFF_HIGH,
    ),
    Moment.EVENTS: (Moment.OFF_LOW, Moment.OFF_HIGH),
}
"""What exact studies add up besides, so that it can be decided whether a number may be shown."""
PERSON_STEPS = 1 << 20
"""A person's largest possible part of an amount, in the coarse unit of the concentration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One sum a cell.

    Attributes:
        statistic: Place of its statistic in the study's list.
        moment: What is added up.
        cells: How many there are (>= 1).
        shift: Subtracted from every value before it is added up, in units of the last decimal.
        most: Largest absolute value that one row adds.
        bound: L2 bound of what one person adds over all cells, in units.
        changed: Cells that one person can change.
        scale: Factor by which the block is multiplied in a vector with noise; 1 where sums are exact.
    """

    statistic: int
    moment: Moment
    cells: int
    shift: int
    most: int
    bound: float
    changed: int
    scale: float


def blocks(spec: StatisticsStudy) -> tuple[Block, ...]:
    """All blocks of a study, in the order of the vector.

    Returns:
        With noise, scales such that one person moves the scaled vector by at most `VECTOR_NORM`: the
        squares of ``scale * bound`` add up to it, in proportion to the statistics' weights squared, shared
        out evenly inside a statistic. Exact studies count the persons of every cell besides, for whoever
        decides what may be shown, how much of every amount one of them can hold, and how many of them have
        more than the least and less than the most that a value can be.
    """
    found, shares = [], []
    for place, entry in enumerate(spec.statistics):
        moments = _moments(entry, is_exact=spec.privacy.is_exact)
        found += [_block(spec, place, moment) for moment in moments]
        shares += [entry.weight / math.sqrt(len(moments))] * len(moments)
    if spec.privacy.is_exact:
        return tuple(found)
    whole = math.hypot(*shares)
    return tuple(
        replace(block, scale=VECTOR_NORM * _SLACK * share / whole / block.bound)
        for block, share in zip(found, shares, strict=True)
    )


def _moments(entry: StatisticTable, *, is_exact: bool) -> tuple[Moment, ...]:
    """What a statistic is made of."""
    kind = entry.kind
    if entry.unit is not None:
        found: tuple[Moment, ...] = (Moment(entry.unit),)
    elif kind is StatisticKind.STANDARDISED_RATE:
        found = (Moment.ROWS, Moment.EVENTS)
    elif kind is StatisticKind.QUANTILE:
        found = (Moment.ROWS,)
    elif kind is StatisticKind.RATIO:
        found = (Moment.TOTAL, Moment.DENOMINATOR)
    elif kind is StatisticKind.MEAN:
        found = (Moment.ROWS, Moment.TOTAL)
    elif kind is StatisticKind.VARIANCE:
        found = (Moment.ROWS, Moment.TOTAL, Moment.SQUARES)
    else:
        found = (Moment.TOTAL,)
    if not is_exact:
        return found
    more = (guard for moment in found for guard in GUARDS.get(moment, ()))
    return tuple(dict.fromkeys((*found, Moment.PERSONS, *more)))


def _block(spec: StatisticsStudy, place: int, moment: Moment) -> Block:
    """One block, not scaled yet."""
    entry, rows = spec.statistics[place], spec.data.max_rows_per_person
    is_grid = entry.kind is StatisticKind.QUANTILE and moment is Moment.ROWS
    cells = entry.groups * (entry.steps or 1) if is_grid else entry.groups
    shift, most = _reach(entry, moment, is_exact=spec.privacy.is_exact)
    changed = min(rows, cells)
    # All rows of a person may lie in one cell; a person is counted at most once in each.
    if moment in CONCENTRATIONS:
        most = (PERSON_STEPS + rows) ** 2
    by_person = moment is Moment.PERSONS or moment in OFF_BOUNDS
    bound = math.sqrt(changed) if by_person else float(rows * most)
    return Block(
        statistic=place,
        moment=moment,
        cells=cells,
        shift=shift,
        most=most,
        bound=bound,
        changed=changed,
        scale=1.0,
    )


def _reach(entry: StatisticTable, moment: Moment, *, is_exact: bool) -> tuple[int, int]:
    """What is subtracted from a row's value, and the largest absolute value of the rest.

    Where the number of rows is summed besides, values are taken from the middle of their bounds: a mean
    needs half the noise then.
    """
    value = entry.denominator if moment in DENOMINATORS else entry.value
    if moment in (Moment.PERSONS, Moment.ROWS, Moment.EVENTS, *OFF_BOUNDS) or value is None:
        return 0, 1
    low, high = value.units
    centred = not is_exact and entry.kind in (StatisticKind.MEAN, StatisticKind.VARIANCE)
    shift = (low + high) // 2 if centred else 0
    most = max(abs(low - shift), abs(high - shift))
    return shift, most**2 if moment is Moment.SQUARES else most


def most_of(spec: StatisticsStudy, block: Block) -> int:
    """Largest absolute value of one cell of a block at one node, in units."""
    persons = max(spec.data.declared_persons.values())
    by_person = block.moment is Moment.PERSONS or block.moment in CONCENTRATIONS | OFF_BOUNDS
    rows = 1 if by_person else spec.data.max_rows_per_person
    return persons * rows * block.most


def person_unit(value: ValueTable, max_rows_per_person: int) -> tuple[int, int]:
    """From where a person's part of an amount is counted, and in which unit.

    Returns:
        The lower bound of a row or zero, whichever is less, and the coarse unit: who has the most rows and
        the highest values has at most `PERSON_STEPS` + ``max_rows_per_person`` of it, each row rounded up.
    """
    low, high = value.units
    start = min(low, 0)
    return start, max(1, -(-max_rows_per_person * (max(high, 0) - start) // PERSON_STEPS))


def digits_of(most: int, limit: int) -> int:
    """Fields that a sum takes: one where the layout's limit holds it, else digits of base 2^k <= limit."""
    return 1 if most <= limit else -(-most.bit_length() // digit_bits(limit))


def digit_bits(limit: int) -> int:
    """Bits of a digit: the largest power of two that a field holds."""
    return limit.bit_length() - 1


def stages(spec: StatisticsStudy, ground: Ground) -> tuple[Stage, ...]:
    """Work out a statistics study.

    Args:
        spec: A checked study.
        ground: What the plan stands on.

    Returns:
        One stage of one round over all blocks.

    Raises:
        ConfigError: noise does not fit, or the vector is too long.
    """
    found = blocks(spec)
    if spec.privacy.is_exact:
        return (_exact(spec, found, ground.carrier),)
    values, most_persons = sum(b.cells for b in found), max(spec.data.declared_persons.values())
    return (
        noisy_stage(
            RoundKind.STATISTICS,
            SumBounds(
                values=values,
                clip_norm=VECTOR_NORM,
                clamp_persons=most_persons,
                max_persons=most_persons,
                changed=min(values, sum(b.changed for b in found)),
            ),
            ground,
            noise_multiplier=noise_multiplier_for(
                spec.privacy.epsilon, ground.delta, 1 + spec.spare_attempts
            ),
        ),
    )


def _exact(spec: StatisticsStudy, found: tuple[Block, ...], carrier: Carrier) -> Stage:
    """A stage of whole numbers: fields as wide as the largest sum, or as digits that a field holds."""
    widest = 1 << digit_bits(widest_limit(carrier))
    largest = [most_of(spec, block) for block in found]
    limit = min(max(largest), widest)
    values = sum(b.cells * digits_of(most, limit) for b, most in zip(found, largest, strict=True))
    return Stage(
        kind=RoundKind.STATISTICS,
        rounds=1,
        layout=exact_layout(values, limit=limit, carrier=carrier),
        # What any two vectors of this layout can differ by; without noise nobody relies on less.
        clip_norm=2.0 * limit * math.sqrt(values),
        event=None,
        input_values=0,
    )


def grid_edges(entry: StatisticTable) -> IntArray:
    """Edges of a quantile's grid in units of the last decimal, shape (steps + 1,), int64, rising.

    Raises:
        ConfigError: the entry is no quantile.
    """
    if entry.value is None or entry.steps is None:
        raise ConfigError(f"{entry.name} is a {entry.kind.value}, which has no grid")
    low, high = entry.value.units
    # Units below 2^53 times 10^5 steps would overflow; quotient and rest do not.
    width, rest = divmod(high - low, entry.steps)
    place = np.arange(entry.steps + 1)
    return low + place * width + place * rest // entry.steps
