"""Columns of a model in a study file, with public codings: explanatory terms, outcomes and times."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from fedmed.study.sections import Line, Number, Table

MOST_INTERVALS = 5000
_WIDEST_EXPOSURE = 1000


class TermTable(Table):
    """One entry of ``terms``: a column that explains the outcome.

    Attributes:
        column: Name of the column.
        low: Public lower bound of a number, in the column's unit; values outside the bounds count as them.
        high: Public upper bound of a number.
        levels: Levels of a category, as text, the first one being the reference; empty for a number.
    """

    column: Line
    low: Number | None = None
    high: Number | None = None
    levels: tuple[Line, ...] = ()

    @model_validator(mode="after")
    def _is_a_number_or_a_category(self) -> Self:
        is_bounded = self.low is not None and self.high is not None
        if bool(self.levels) == (self.low is not None or self.high is not None):
            raise ValueError(f"term {self.column} needs low and high, or levels, and not both")
        if is_bounded and not self.low < self.high:  # type: ignore[operator]  # neither is None
            raise ValueError(f"term {self.column}: low must be < high, got {self.low:g} and {self.high:g}")
        if not self.levels and not is_bounded:
            raise ValueError(f"term {self.column} needs both low and high")
        if self.levels and not len(set(self.levels)) == len(self.levels) >= 2:
            raise ValueError(f"term {self.column}: levels must be two or more, all different")
        return self


class OutcomeTable(Table):
    """``regression.outcome``: what is explained.

    Attributes:
        column: Name of the column.
        at_least: Public threshold that makes a number an outcome of 0 or 1 (``column >= at_least``).
        low: Public lower bound of a count or an amount, in the column's unit.
        high: Public upper bound; values outside the bounds count as them.
        mean_low: Public lower bound of the expected outcome, with noise only: a smaller expectation counts
            as it, so that one person's part in a sum is bounded.
        mean_high: Public upper bound likewise.
    """

    column: Line
    at_least: Number | None = None
    low: Number | None = None
    high: Number | None = None
    mean_low: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    mean_high: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class ExposureTable(Table):
    """``regression.exposure``: how long or how much of a row was there to be counted.

    Its logarithm is added to the linear predictor, so coefficients are about the expected outcome per unit of
    exposure: visits a month for persons insured for different numbers of months.

    Attributes:
        column: Name of the column; a row where it is missing or not above 0 falls out.
        low: Public lower bound (> 0), in the column's unit; smaller values count as it.
        high: Public upper bound likewise; at most 1,000 times ``low``, or one row could outweigh all others
            and an exact fit would be that person's.
    """

    column: Line
    low: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    high: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"exposure: low must be < high, got {self.low:g} and {self.high:g}")
        if self.high > _WIDEST_EXPOSURE * self.low:
            raise ValueError(
                f"exposure: high must be at most {_WIDEST_EXPOSURE:,} times low, got {self.low:g} and "
                f"{self.high:g}: raise low, smaller values count as it"
            )
        return self


class TimeTable(Table):
    """``time`` of a survival analysis: when each person left, and why, on a public grid.

    A time t lies in the interval k with start + k interval < t <= start + (k + 1) interval; the start itself
    lies in the first one. Who leaves after the last interval is censored there.

    Attributes:
        column: Column with the time, in any unit.
        event: Column that holds 1 for an event and 0 for censoring.
        start: Where the grid begins; rows with an earlier time fall out.
        interval: Width of an interval (> 0), in the unit of the time.
        intervals: How many there are.
    """

    column: Line
    event: Line
    start: Number = 0.0
    interval: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    intervals: Annotated[int, Field(ge=2, le=MOST_INTERVALS)]

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        if self.column == self.event:
            raise ValueError("time.column and time.event must be two columns")
        return self

    @property
    def ends(self) -> tuple[float, ...]:
        """End of each interval, in the unit of the time."""
        return tuple(self.start + (k + 1) * self.interval for k in range(self.intervals))
