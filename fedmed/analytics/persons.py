"""How many persons stand behind every group of an exact fit, asked for before the fit itself.

The coefficient of a level is about those who have it, and three persons with many rows each are three persons
however their rows are counted. So every node counts persons first, each once, and no sum of an outcome is
asked for before the counts of the whole federation are large enough.

A number names no group, but 0 and 1 do, between whatever bounds, and so does an outlier. What a person weighs
in its coefficient is g, the mean squared distance of the person's values from the mean of all; Kish's
effective size (sum g)^2 / sum g^2 of k among N persons with one of two values is N q / (1 - 3 q), where
q = k / N (1 - k / N). Turned around it gives k itself, whatever the two values and the bounds; of a uniform
number it gives 0.30 N, of a normal one 0.21 N.

Source:
    Kish 1965, Survey Sampling, section 11.7: (sum w)^2 / sum w^2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fedmed.analytics.design import BoolArray, Design
from fedmed.analytics.families import Family
from fedmed.analytics.model import Model, ModelRows
from fedmed.types import FloatArray, IntArray, require

# Log of an exposure at its bound, by whichever routine the logarithm was taken.
_AT_BOUND = 1e-9
_GROUPS = 6  # of `Persons.whole`
_POWERS = 5  # sums that give the effective size of a number in one of the groups
_OUTCOMES = ("", " with an event", " without an event")
_AMOUNTS = ("", " with an outcome above its lower bound", " with an outcome below its upper bound")
_EXPOSURES = (" with an exposure above its lower bound", " with an exposure below its upper bound")
_EPSILON = float(np.finfo(np.float64).eps)
# Sums of a number whose spread is fewer units than this are too coarse to tell one person from two.
_LEAST_UNITS = 1e4
# What rounding may take off an effective size; the next smaller whole number of persons is far below.
_ROUNDING = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Persons:
    """Counts of distinct persons, of one node or added up over nodes that have no person in common.

    Attributes:
        whole: Shape (groups,): persons; those with a row whose outcome is above its lower bound (an event),
            below its upper bound (none), whose exposure is above and below; whose outcome is 0.
        levels: Shape (levels, groups): the same for every level of every category, references among them.
        numbers: Shape (numbers, groups, 5): over the same groups, with b and a a person's mean coded value
            and mean squared one, the sums of b, a, a a, a b and b b.
    """

    whole: FloatArray
    levels: FloatArray
    numbers: FloatArray

    @property
    def without(self) -> float:
        """Persons with a row whose outcome is 0."""
        return float(self.whole[-1])


def persons_size(design: Design) -> int:
    """Values of packed counts."""
    return _GROUPS * (1 + len(_level_names(design)) + _POWERS * len(_number_names(design)))


def person_counts(rows: ModelRows, model: Model) -> FloatArray:
    """Count one node's persons.

    Args:
        rows: The node's rows.
        model: What is fitted.

    Returns:
        Shape (`persons_size`,).

    Guarantees:
        Rows that a person has beyond one change no count, unless they say something new.
    """
    design, starts = model.design, rows.starts
    if len(starts) == 1:
        return np.zeros(persons_size(design))
    whole = np.ones((len(rows.matrix), 1), dtype=np.bool_)
    levels = np.concatenate([whole, _memberships(rows.matrix, design)], axis=1)
    groups = [
        np.logical_or.reduceat(levels & part[:, None], starts[:-1], axis=0) for part in _parts(rows, model)
    ]
    powers = _powers(rows.matrix[:, design.is_number], starts)
    # Shapes (levels, groups) and (numbers, groups, sums); the first level is the whole.
    counts = np.stack([inside.sum(axis=0) for inside in groups], axis=1).astype(np.float64)
    sums = np.stack([powers[inside[:, 0]].sum(axis=0) for inside in groups], axis=1)
    return np.concatenate([counts.ravel(), sums.ravel()])


def _parts(rows: ModelRows, model: Model) -> tuple[BoolArray, ...]:
    """Which rows are in each group, in the order of `Persons.whole`."""
    low, high = np.log(model.exposure)
    return (
        np.ones(len(rows.outcome), dtype=np.bool_),
        rows.outcome > model.low,
        rows.outcome < model.high,
        rows.offset > low + _AT_BOUND,
        rows.offset < high - _AT_BOUND,
        rows.outcome == 0,
    )


def _powers(values: FloatArray, starts: IntArray) -> FloatArray:
    """What each person adds to the sums of a number, shape (persons, numbers, sums)."""
    own_rows = np.diff(starts)[:, None]
    b = np.add.reduceat(values, starts[:-1], axis=0) / own_rows
    a = np.add.reduceat(np.square(values), starts[:-1], axis=0) / own_rows
    found: FloatArray = np.stack([b, a, a * a, a * b, b * b], axis=2)
    return found


def read_persons(vector: FloatArray, design: Design) -> Persons:
    """The counts that `person_counts` wrote, or the sum of several."""
    require(vector.shape == (persons_size(design),), "the vector holds no counts of this design's groups")
    end = _GROUPS * (1 + len(_level_names(design)))
    counts = np.rint(vector[:end]).reshape(-1, _GROUPS)
    numbers = vector[end:].reshape(-1, _GROUPS, _POWERS)
    return Persons(whole=counts[0], levels=counts[1:], numbers=numbers)


def too_few(persons: Persons, model: Model, *, minimum: int, precision: float = 0.0) -> str:
    """Why a fit on these persons must not be made; empty where nothing speaks against it.

    Args:
        persons: Of the whole federation.
        model: What is fitted.
        minimum: Fewest persons of a group of which a fit may tell something.
        precision: How far a sum of a number may be off by rounding.

    Returns:
        Cause and remedy; names a term, and never a count.

    Guarantees:
        Empty only if the whole, each level, and those in either whose outcome is above its lower bound, and
        below its upper one, consist of nobody or of ``minimum`` persons or more (of 0 and 1 these are the
        persons with an event and without); likewise all whose exposure is off a bound; and if in each group
        by outcome as many persons weigh in each number. Nobody is no group: such a level has no coefficient,
        and the fit says so.
    """
    kinds = _OUTCOMES if model.family in (None, Family.LOGISTIC) else _AMOUNTS
    named = [("the fit", persons.whole), *zip(_level_names(model.design), persons.levels, strict=True)]
    for name, counts in named:
        is_whole = name == "the fit"
        for kind, count in zip((*kinds, *(_EXPOSURES if is_whole else ())), counts, strict=False):
            if 0 < count < minimum:
                remedy = (
                    "correct the bounds" if is_whole else "merge it with another level, leave the term out"
                )
                return f"{name} rests on fewer than {minimum} persons{kind}: {remedy}, or widen the cohort"
    for name, powers in zip(_number_names(model.design), persons.numbers, strict=True):
        for kind, count, sums in zip(kinds, persons.whole, powers, strict=False):
            if count and _effective(float(count), sums, precision=precision) < minimum - _ROUNDING:
                return (
                    f"term {name} rests on fewer than {minimum} persons{kind} whose values differ from the "
                    "others', or never varies: declare bounds that fit its values, or leave the term out"
                )
    return ""


def _effective(count: float, sums: FloatArray, *, precision: float) -> float:
    """Effective number of those who weigh in a number, from its sums over ``count`` persons.

    0 where rounding hides it.
    """
    b, a, aa, ab, bb = (float(value) for value in sums)
    mean = b / count
    total = a - count * mean**2
    squares = aa - 4 * mean * ab + 4 * mean**2 * bb + 2 * mean**2 * a - 3 * count * mean**4
    if squares <= _LEAST_UNITS * max(precision, count * _EPSILON):
        return 0.0
    ratio = total**2 / (count * squares)
    return count * (1 - math.sqrt(max(0.0, 1 - 4 * ratio / (1 + 3 * ratio)))) / 2


def _memberships(matrix: FloatArray, design: Design) -> BoolArray:
    """Who has which level, shape (rows, levels), in the order of `_level_names`."""
    found, labels = [np.zeros((len(matrix), 0), dtype=np.bool_)], design.labels
    for term in design.terms:
        if term.levels:
            coded = matrix[:, [labels.index(label) for label in term.labels]] != 0
            found += [~coded.any(axis=1, keepdims=True), coded]
    return np.concatenate(found, axis=1)


def _level_names(design: Design) -> list[str]:
    """Every level of every category, the reference first."""
    return [f"{term.name}[{level}]" for term in design.terms for level in term.levels]


def _number_names(design: Design) -> list[str]:
    """Every number."""
    return [term.name for term in design.terms if not term.levels]
