"""What the page of a frontier is made from: points and levels, each over several seeds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from fedmed.report.units import duration, plural
from fedmed.types import Mode, Scheme, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A figure over several seeds.

    Attributes:
        values: One a seed, in the order of the seeds.
    """

    values: tuple[float, ...]

    def __post_init__(self) -> None:
        require(len(self.values) > 0, "a band needs at least one value")

    @property
    def mean(self) -> float:
        """Over seeds."""
        return statistics.fmean(self.values)

    @property
    def low(self) -> float:
        """Least of them."""
        return min(self.values)

    @property
    def high(self) -> float:
        """Largest of them."""
        return max(self.values)

    def error_against(self, other: Band) -> float | None:
        """Standard error of the difference of two means, seed by seed; None with one seed or other seeds.

        Seeds are other rows for both alike, so most of what a band shows is common to the two.
        """
        if len(self.values) < 2 or len(self.values) != len(other.values):
            return None
        gaps = [one - another for one, another in zip(self.values, other.values, strict=True)]
        return float(statistics.stdev(gaps) / len(gaps) ** 0.5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Provinces and people, which a researcher finds and does not choose.

    Attributes:
        nodes: Provinces.
        people: Insured persons in all of them.
    """

    nodes: int
    people: int

    @property
    def words(self) -> str:
        """For headings: ``4 provinces, 80,000 people``."""
        return f"{self.nodes} provinces, {self.people:,} people"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontierPoint:
    """One choice and what it gave.

    Attributes:
        setting: Provinces and people.
        mode: How the model was trained.
        scheme: How contributions were summed.
        epsilon: Planned epsilon per person.
        clip_norm: Bound of one person's gradient.
        aggregations: Training rounds.
        auc: Mean AUC over provinces, over seeds.
        worst_auc: AUC of the worst province, mean over seeds.
        average_precision: Mean over seeds; None where unknown.
        expected_over_observed: Mean over seeds; None where unknown.
        fallback_epsilon: If all other provinces collude.
        size_bytes: Bytes of one study, both ways; None where no run measured them.
        seconds: Of one study in simulation; None where no run measured them.
        a_year: How many such studies fit the year's budget.
        year_epsilon: Epsilon of ``a_year`` such studies together; 0 where none fits.
        is_on_front: Whether no other choice of the setting is at least as good in epsilon, AUC, bytes and
            seconds and better in one.
    """

    setting: Setting
    mode: Mode
    scheme: Scheme
    epsilon: float
    clip_norm: float
    aggregations: int
    auc: Band
    worst_auc: float
    average_precision: float | None
    expected_over_observed: float | None
    fallback_epsilon: float
    size_bytes: int | None
    seconds: float | None
    a_year: int
    year_epsilon: float
    is_on_front: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A baseline and what it gave.

    Attributes:
        setting: Provinces and people.
        arm: As in the result document: ``central``, ``alone_private``, ``pooled``, ``alone``.
        epsilon: None without privacy.
        clip_norm: None without privacy.
        aggregations: None without privacy.
        auc: Mean AUC over provinces, over seeds.
        worst_auc: AUC of the worst province, mean over seeds.
    """

    setting: Setting
    arm: str
    epsilon: float | None
    clip_norm: float | None
    aggregations: int | None
    auc: Band
    worst_auc: float


def several_settings(points: Sequence[FrontierPoint]) -> bool:
    """Whether clip or rounds differ within a mode, so that a choice must name them; modes differ anyway."""
    found = {(point.mode, point.clip_norm, point.aggregations) for point in points}
    return len(found) > len({mode for mode, _, _ in found})


def baseline_of(levels: Sequence[Level], point: FrontierPoint, arm: str) -> Level | None:
    """The baseline to set beside a point: same setting, its epsilon or none, the best of several settings."""
    beside = (
        level
        for level in levels
        if level.arm == arm and level.setting == point.setting and level.epsilon in (None, point.epsilon)
    )
    return max(beside, key=lambda level: level.auc.mean, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advice:
    """What to run.

    Attributes:
        headline: One sentence.
        reasons: Why, a sentence each.
        point: The choice that is meant; None where nothing can be recommended.
    """

    headline: str
    reasons: tuple[str, ...]
    point: FrontierPoint | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """Everything that a frontier's page shows.

    Attributes:
        study: Title of the study.
        study_id: Its key.
        outcome: What is predicted.
        delta: Largest planned delta of a point.
        budget: Epsilon that a person may lose in a year.
        seeds: Seeds of the rows.
        points: In the order of the grid.
        levels: Baselines.
        advice: What to run.
        encrypted_runs: Federated runs whose secure sums ran under encryption.
        runs: Federated runs.
        created: When the page was made, in words.
        computed: Runs and baselines that the command computed, without those kept from earlier ones.
        wall_seconds: What these took, from the command's start to the last of them.
    """

    study: str
    study_id: str
    outcome: str
    delta: float
    budget: float
    seeds: tuple[int, ...]
    points: tuple[FrontierPoint, ...]
    levels: tuple[Level, ...]
    advice: Advice
    encrypted_runs: int
    runs: int
    created: str
    computed: int = 0
    wall_seconds: float = 0.0

    @property
    def effort(self) -> str:
        """What the command itself took, in words."""
        return f"{plural(self.computed, 'run')} in {duration(self.wall_seconds)}"

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Every setting once, in the order of the points."""
        return tuple(dict.fromkeys(point.setting for point in self.points))
