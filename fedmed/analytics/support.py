"""How many rows and events a fit rests on, and whether that is enough to show it.

Counts travel with every exact evaluation: they cost two values a coefficient and decide, before anything is
shown, whether a level of a category is so rare that its coefficient would tell about single persons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmed.analytics.design import INTERCEPT, Design
from fedmed.errors import DataContractError
from fedmed.types import FloatArray, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What a fit rests on.

    Attributes:
        rows: Rows in the fit.
        events: Rows with an outcome above 0.
        term_rows: Shape (coefficients,): rows in which the coded column is not 0.
        term_events: Shape (coefficients,): events among them.
    """

    rows: float
    events: float
    term_rows: FloatArray
    term_events: FloatArray


def support_size(coefficients: int) -> int:
    """Values of a packed support."""
    return 2 + 2 * coefficients


def support_counts(matrix: FloatArray, has_event: npt.NDArray[np.bool_]) -> FloatArray:
    """Count one node's rows.

    Args:
        matrix: Shape (rows, coefficients), coded.
        has_event: Shape (rows,).

    Returns:
        Shape (`support_size`,): rows, events, rows by coefficient, events by coefficient.
    """
    used = matrix != 0
    return np.concatenate(
        [
            [float(len(matrix)), float(has_event.sum())],
            used.sum(axis=0, dtype=np.float64),
            used[has_event].sum(axis=0, dtype=np.float64),
        ]
    )


def read_support(vector: FloatArray) -> Support:
    """The support that `support_counts` wrote, or the sum of several."""
    size = (len(vector) - 2) // 2
    require(len(vector) == support_size(size), "the vector is no packed support")
    whole = np.rint(vector)
    return Support(
        rows=float(whole[0]),
        events=float(whole[1]),
        term_rows=whole[2 : 2 + size],
        term_events=whole[2 + size :],
    )


def check_support(support: Support, design: Design, *, minimum: int, both_outcomes: bool) -> None:
    """Refuse to show a fit that rests on too little.

    Args:
        support: Of the whole federation.
        design: The study's design.
        minimum: Least events a coefficient, and least rows and events in every level of a category.
        both_outcomes: Whether rows without an event are outcomes too (0 and 1), which then need as many.

    Raises:
        DataContractError: there are fewer; the message names the term and never a count.
    """
    others = support.rows - support.events
    needed = minimum * sum(label != INTERCEPT for label in design.labels)
    least = min(support.events, others) if both_outcomes else support.events
    if least < needed:
        raise DataContractError(
            f"the fit has fewer than {minimum} events for each of its coefficients: leave terms out, merge "
            "levels, or widen the cohort"
        )
    for name, rows, events in _levels(support, design):
        smallest = min(rows, events, rows - events) if both_outcomes else min(rows, events)
        if smallest < minimum:
            raise DataContractError(
                f"{name} rests on fewer than {minimum} rows or events: merge it with another level, or leave "
                "the term out"
            )


def _levels(support: Support, design: Design) -> list[tuple[str, float, float]]:
    """Name, rows and events of every level of every category, the reference among them."""
    found, labels = [], design.labels
    for term in design.terms:
        if not term.levels:
            continue
        at = [labels.index(label) for label in term.labels]
        rows, events = support.term_rows[at], support.term_events[at]
        found.append(
            (f"{term.name}[{term.levels[0]}]", support.rows - rows.sum(), support.events - events.sum())
        )
        found += list(zip(term.labels, rows.tolist(), events.tolist(), strict=True))
    return found
