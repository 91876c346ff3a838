"""A study that fits a model: ``[study] kind = "regression"``, by Newton rounds over secure sums."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedmed.study.sections import (
    ExactOrNoisyPrivacyTable,
    SpareAttempts,
    StudySpec,
    Table,
    default_spare_attempts,
)
from fedmed.study.terms import ExposureTable, OutcomeTable, TermTable, TimeTable
from fedmed.types import Mode, Protection

EXACT_ROUNDS = 25
"""Rounds of an exact fit that does not say: 8 to 10 are usual, halved steps take more."""
NOISY_ROUNDS = 12
"""Rounds of a fit with noise that does not say. All are paid for in the plan and the later ones are averaged,
so their number hardly changes the noise; a third of them goes into getting near."""

MOST_TERMS = 100


class FitTable(Table):
    """``[regression]``: what is fitted.

    Attributes:
        family: ``logistic``, ``poisson``, ``negative_binomial``, ``gamma``, or ``cox`` for times to an event.
        outcome: What is explained; none for ``cox``.
        time: Times and events of ``cox``; none for the others.
        exposure: What a row's expected outcome is proportional to; for ``poisson``, ``negative_binomial`` and
            ``gamma``. None = every row counts as one unit.
        terms: What explains it, in the order of the coefficients. A constant is added except for ``cox``.
        max_rows_per_person: Rows of one person that count (>= 1; 1 for ``cox``); of a person with more some
            are left out, by a rule that depends on that person's rows alone.
        rounds: Most rounds. An exact fit stops when it has converged; one with noise uses all of them.
        min_events_per_term: Exact fits only: least events (and, for ``logistic``, others) for each
            coefficient, and least rows and events in each level of a category; a fit with fewer is not shown.
        min_cell: Exact fits only: fewest persons, each counted once whatever rows, of a group of which the
            fit tells something, 5 to 30; a fit with a smaller one is not made
            (`fedmed.analytics.persons.too_few`).
        confidence: Level of the intervals.
        spare_attempts: Attempts planned beyond the rounds, over the whole study; default 2, above 8 nodes 4.
    """

    family: Literal["logistic", "poisson", "negative_binomial", "gamma", "cox"]
    outcome: OutcomeTable | None = None
    time: TimeTable | None = None
    exposure: ExposureTable | None = None
    terms: Annotated[tuple[TermTable, ...], Field(min_length=1, max_length=MOST_TERMS)]
    max_rows_per_person: Annotated[int, Field(ge=1, le=1000)] = 1
    rounds: Annotated[int, Field(ge=2, le=200)]
    min_events_per_term: Annotated[int, Field(ge=5, le=1000)] = 10
    min_cell: Annotated[int, Field(ge=5, le=30)] = 11
    confidence: Annotated[float, Field(ge=0.5, le=0.999, allow_inf_nan=False)] = 0.95
    spare_attempts: SpareAttempts

    @model_validator(mode="after")
    def _belongs_to_its_family(self) -> Self:
        is_cox = self.family == "cox"
        if is_cox != (self.time is not None) or is_cox != (self.outcome is None):
            raise ValueError(
                "family cox needs time and no outcome, every other family an outcome and no time"
            )
        if is_cox and self.max_rows_per_person != 1:
            raise ValueError("family cox takes one row a person: leave max_rows_per_person out")
        if self.outcome is not None:
            _check_outcome(self.outcome, self.family)
        if self.exposure is not None and self.family in ("logistic", "cox"):
            raise ValueError(
                f"family {self.family} takes no exposure: use poisson, negative_binomial or gamma, whose "
                "expected outcome it multiplies, or make it a term"
            )
        return self

    @model_validator(mode="after")
    def _columns_differ(self) -> Self:
        names = list(self.columns)
        if len(set(names)) < len(names):
            raise ValueError("the columns of terms, outcome, exposure and time must differ")
        return self

    @property
    def columns(self) -> Iterator[str]:
        """Columns that are computed on, the outcome's first."""
        if self.outcome is not None:
            yield self.outcome.column
        if self.time is not None:
            yield from (self.time.column, self.time.event)
        if self.exposure is not None:
            yield self.exposure.column
        yield from (term.column for term in self.terms)


def _check_outcome(outcome: OutcomeTable, family: str) -> None:
    """Bounds that the family needs."""
    if family == "logistic":
        if outcome.low is not None or outcome.high is not None or outcome.mean_low or outcome.mean_high:
            raise ValueError("a logistic outcome is 0 or 1, or column >= at_least; it has no other bounds")
        return
    if outcome.at_least is not None:
        raise ValueError("outcome.at_least is for family logistic; give high")
    if outcome.high is None or outcome.high <= (outcome.low or 0.0):
        raise ValueError("the outcome needs a public bound high > low")
    if family == "gamma" and not (outcome.low is not None and outcome.low > 0):
        raise ValueError("a gamma outcome needs a public bound low > 0")
    if family != "gamma" and outcome.low is not None and outcome.low < 0:
        raise ValueError("a count needs low >= 0: leave it out")


class RegressionPrivacyTable(ExactOrNoisyPrivacyTable):
    """``[privacy]`` of a regression: with noise, or exact. An exact fit shows the coordinator exact sums."""

    MODES: ClassVar[tuple[Mode, ...]] = (Mode.AGGREGATE,)

    mode: Mode = Mode.AGGREGATE


class RegressionStudy(StudySpec):
    """A study whose result is a table of coefficients."""

    privacy: RegressionPrivacyTable
    regression: FitTable

    @classmethod
    def defaults(cls, document: Mapping[str, object]) -> dict[str, dict[str, object]]:
        """See `StudySpec.defaults`."""
        privacy, data = document.get("privacy"), document.get("data")
        is_exact = isinstance(privacy, Mapping) and privacy.get("protection") == Protection.EXACT.value
        declared = data.get("declared_persons") if isinstance(data, Mapping) else None
        nodes = len(declared) if isinstance(declared, Mapping) else 0
        fit: dict[str, object] = {
            "rounds": EXACT_ROUNDS if is_exact else NOISY_ROUNDS,
            "spare_attempts": default_spare_attempts(nodes),
        }
        return {**super().defaults(document), "regression": fit}

    @model_validator(mode="after")
    def _persons_explain_nothing(self) -> Self:
        if self.data.person in self.regression.columns:
            raise ValueError(f"the person column {self.data.person} must be neither outcome nor term")
        return self

    @model_validator(mode="after")
    def _noise_needs_bounds(self) -> Self:
        outcome = self.regression.outcome
        if outcome is None or self.regression.family == "logistic":
            return self
        low, high = outcome.mean_low, outcome.mean_high
        if self.privacy.is_exact and (low is not None or high is not None):
            raise ValueError("outcome.mean_low and mean_high are for noise: leave them out of an exact fit")
        if not self.privacy.is_exact and (low is None or high is None or not low < high):
            raise ValueError(
                "with noise the outcome needs mean_low < mean_high, public bounds of the expected outcome: "
                "they bound what one person adds to a sum"
            )
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """See `StudySpec.columns`: person, outcome or time, terms."""
        return (self.data.person, *self.regression.columns)

    @property
    def spare_attempts(self) -> int:
        """See `StudySpec.spare_attempts`."""
        return self.regression.spare_attempts
