"""How many rows and events a fit rests on, and whether that is enough to show it.

Counts travel with every exact evaluation: they cost two values a coefficient and decide, before anything is
shown, whether a level of a category is so rare that its coefficient would tell about single persons. A number
can single out a person as well: by bounds between which hardly anybody lies, or by an outlier far from all
others. So the share of its range that each row takes up is counted too, from either end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmed.analytics.design import INTERCEPT, BoolArray, Design
from fedmed.errors import DataContractError
from fedmed.types import FloatArray, require

# Squares below this are lost in the unit in which they travel; in honest fits they are thousands of times it.
_LEAST_SQUARES = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """What a fit rests on.

    Attributes:
        rows: Rows in the fit.
        events: Rows with an outcome above 0.
        term_rows: Shape (coefficients,): rows in which the coded column is not 0; of a number the sum of its
            places between the bounds, 0 at the lower and 1 at the upper one.
        term_events: Shape (coefficients,): events among them; of a number the sum of the squared places.
    """

    rows: float
    events: float
    term_rows: FloatArray
    term_events: FloatArray


def support_size(coefficients: int) -> int:
    """Values of a packed support."""
    return 2 + 2 * coefficients


def support_counts(
    matrix: FloatArray, has_event: npt.NDArray[np.bool_], *, is_number: BoolArray
) -> FloatArray:
    """Count one node's rows.

    Args:
        matrix: Shape (rows, coefficients), coded.
        has_event: Shape (rows,).
        is_number: `Design.is_number`.

    Returns:
        Shape (`support_size`,): rows, events, then by coefficient what `Support` says of them.
    """
    places = np.where(is_number, (matrix + 1.0) / 2.0, matrix != 0)
    events = places[has_event].sum(axis=0)
    return np.concatenate(
        [
            [float(len(matrix)), float(has_event.sum())],
            places.sum(axis=0),
            np.where(is_number, np.square(places).sum(axis=0), events),
        ]
    )


def read_support(vector: FloatArray) -> Support:
    """The support that `support_counts` wrote, or the sum of several."""
    size = (len(vector) - 2) // 2
    require(len(vector) == support_size(size), "the vector is no packed support")
    rows, events = np.rint(vector[:2])
    return Support(
        rows=float(rows),
        events=float(events),
        term_rows=vector[2 : 2 + size],
        term_events=vector[2 + size :],
    )


def check_support(support: Support, design: Design, *, minimum: int, both_outcomes: bool) -> None:
    """Refuse to show a fit that rests on too little.

    Args:
        support: Of the whole federation.
        design: The study's design.
        minimum: Least events a coefficient, least rows and events in every level of a category, and least
            rows that share a number's range, as Kish's effective size counts them.
        both_outcomes: Whether rows without an event are outcomes too (0 and 1), which then need as many.

    Raises:
        DataContractError: there are fewer; the message names the term and never a count.

    Guarantees:
        No number whose coded values lie all at one bound but for fewer rows than the minimum, however the
        bounds were chosen: its coefficient would give the outcome of those rows away.

    Source:
        Kish 1965, Survey Sampling, section 11.7: (sum w)^2 / sum w^2.
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
    for name, places, squares in _numbers(support, design):
        from_above = (support.rows - places, support.rows - 2 * places + squares)
        for whole, square in ((places, squares), from_above):
            if whole**2 < minimum * max(square, _LEAST_SQUARES):
                raise DataContractError(
                    f"term {name} rests on fewer than {minimum} rows between its bounds: declare bounds that "
                    "fit its values, or leave the term out"
                )


def _numbers(support: Support, design: Design) -> list[tuple[str, float, float]]:
    """Name of every number, the sum of its places and of their squares."""
    return [
        (label, float(support.term_rows[at]), float(support.term_events[at]))
        for at, label in enumerate(design.labels)
        if design.is_number[at]
    ]


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
