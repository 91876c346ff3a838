"""Design matrices with public codings, and estimates turned back into the units of the columns.

A regression over provinces must code every column alike without looking at rows, so bounds and levels are
declared. Numbers are mapped to [-1, 1] by their bounds: badly scaled columns then cannot spoil the Newton
steps, and one person's row has a known norm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmed.types import FloatArray, require

INTERCEPT = "intercept"

BoolArray = npt.NDArray[np.bool_]
Columns = Mapping[str, FloatArray | Sequence[str | None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One explanatory column.

    Attributes:
        name: Column name.
        low: Public lower bound of a number, in the column's unit.
        high: Public upper bound of a number; values outside the bounds are clamped to them.
        levels: Levels of a category, as text, the first one being the reference; empty for a number.
    """

    name: str
    low: float = 0.0
    high: float = 1.0
    levels: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(bool(self.name) and self.name != INTERCEPT, f"a term needs a name other than {INTERCEPT}")
        if self.levels:
            distinct = len(set(self.levels)) == len(self.levels) >= 2
            require(distinct, f"term {self.name}: levels must be two or more, all different")
        else:
            bounded = np.isfinite(self.high - self.low) and self.low < self.high
            require(bool(bounded), f"term {self.name}: low must be < high, their difference finite")

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the coefficients: the column, or ``column[level]`` for every level but the reference."""
        if not self.levels:
            return (self.name,)
        return tuple(f"{self.name}[{level}]" for level in self.levels[1:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The columns of a regression.

    Attributes:
        terms: In the order of the coefficients.
        intercept: Whether a constant comes first.
    """

    terms: tuple[Term, ...]
    intercept: bool = True

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        require(len(set(names)) == len(names), "terms must have different names")
        require(self.intercept or bool(names), "a design needs a term or an intercept")

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the coefficients."""
        first = (INTERCEPT,) if self.intercept else ()
        return (*first, *(label for term in self.terms for label in term.labels))

    @property
    def is_number(self) -> BoolArray:
        """Which columns of `matrix` are numbers, shape (coefficients,); the others hold 0 and 1."""
        found = [not term.levels for term in self.terms for _ in term.labels]
        return np.array([False] * self.intercept + found, dtype=np.bool_)

    @property
    def norm_bound(self) -> float:
        """Largest L2 norm that a row of `matrix` can have: one for each term and the constant."""
        return float(np.sqrt(len(self.terms) + self.intercept))

    def usable(self, columns: Columns) -> BoolArray:
        """Rows without a missing value: a number that is not finite, a level that is not declared.

        Args:
            columns: Values of each term, equal lengths: floats for numbers, text or None for categories.

        Returns:
            Shape (rows,), bool.
        """
        good = np.ones(_rows(columns), dtype=np.bool_)
        for term in self.terms:
            if term.levels:
                good &= np.isin(np.asarray(columns[term.name], dtype=object), term.levels)
            else:
                good &= np.isfinite(np.asarray(columns[term.name], dtype=np.float64))
        return good

    def matrix(self, columns: Columns) -> FloatArray:
        """Code rows that are all `usable`.

        Args:
            columns: As for `usable`.

        Returns:
            Shape (rows, coefficients), float64, every value in [-1, 1]; see `norm_bound`.
        """
        parts = [np.ones((_rows(columns), 1))] if self.intercept else []
        for term in self.terms:
            if term.levels:
                found = np.asarray(columns[term.name], dtype=object)
                parts.append(np.stack([found == level for level in term.levels[1:]], axis=1).astype(float))
            else:
                numbers = np.clip(np.asarray(columns[term.name], dtype=np.float64), term.low, term.high)
                parts.append(((numbers - _middle(term)) / _half(term))[:, None])
        return np.concatenate(parts, axis=1)

    def to_units(self) -> FloatArray:
        """Matrix A that turns coefficients of `matrix` into coefficients per unit of the columns.

        Returns:
            Shape (coefficients, coefficients): estimates are ``A b``, their covariance ``A V A'``. Without
            an intercept the shift of the numbers has nowhere to go (a Cox model needs none) and is dropped.
        """
        labels = self.labels
        turn = np.eye(len(labels))
        for term in self.terms:
            if term.levels:
                continue
            at = labels.index(term.name)
            turn[at, at] = 1.0 / _half(term)
            if self.intercept:
                turn[0, at] = -_middle(term) / _half(term)
        return turn


def _rows(columns: Columns) -> int:
    """Rows that the columns have in common."""
    lengths = {len(values) for values in columns.values()}
    require(len(lengths) == 1, f"columns must have equal lengths, got {sorted(lengths)}")
    return lengths.pop()


def _middle(term: Term) -> float:
    """What is mapped to 0."""
    return term.low + (term.high - term.low) / 2


def _half(term: Term) -> float:
    """What is mapped to 1, from the middle."""
    return (term.high - term.low) / 2
