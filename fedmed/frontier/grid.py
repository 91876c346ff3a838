"""The grid: which studies are tried, and each of them as a study file of its own."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass

from fedmed.errors import ConfigError
from fedmed.study import LEAST_NODES, TrainingStudy, as_training, study_from_document, to_toml
from fedmed.study.training import TrainingPrivacyTable
from fedmed.types import Mode, Scheme, require

MODES = TrainingPrivacyTable.MODES
"""Modes in which a model can be trained: what a frontier compares unless it is told."""

LARGEST_FRONTIER = 100_000
"""Most runs of one grid; a larger one is a slip of the keyboard."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One setting of everything that a researcher may choose before a study.

    Attributes:
        mode: How the model is trained.
        scheme: How contributions are summed.
        epsilon: Planned epsilon per person.
        nodes: Provinces (>= 3).
        people: Insured persons in all of them.
        clip_norm: Bound of one person's gradient.
        aggregations: Training rounds; None = the study's own in its own mode, elsewhere the mode's default.
    """

    mode: Mode
    scheme: Scheme
    epsilon: float
    nodes: int
    people: int
    clip_norm: float
    aggregations: int | None

    @property
    def words(self) -> str:
        """For errors: ``mode local, epsilon 1, clip 3, 4 provinces``."""
        rounds = "" if self.aggregations is None else f", aggregations {self.aggregations}"
        return (
            f"mode {self.mode.value}, epsilon {self.epsilon:g}, clip {self.clip_norm:g}{rounds}, "
            f"{self.nodes} provinces"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """All values that are tried; every combination is one choice.

    Attributes:
        modes: Each once, as every list here.
        schemes: Secure sums.
        epsilons: In (0, 100].
        nodes: Numbers of provinces.
        people: Numbers of insured persons in all.
        clips: Clip norms.
        aggregations: Numbers of training rounds, see `Choice.aggregations`; mode ``statistics`` has one.
        seeds: Seeds of rows; noise has none.

    Raises:
        ConfigError: a list is empty or names a value twice, a value is out of range, or there are too many
            combinations.
    """

    modes: tuple[Mode, ...]
    schemes: tuple[Scheme, ...]
    epsilons: tuple[float, ...]
    nodes: tuple[int, ...]
    people: tuple[int, ...]
    clips: tuple[float, ...]
    aggregations: tuple[int | None, ...]
    seeds: tuple[int, ...]

    def __post_init__(self) -> None:
        for name in self.__slots__:
            values = getattr(self, name)
            require(0 < len(values) == len(set(values)), f"{name} must hold values, each once; got {values}")
        least = min(self.nodes)
        if least < LEAST_NODES:
            raise ConfigError(
                f"nodes must be >= {LEAST_NODES}, got {least}: what one province reaches alone is a baseline "
                "of every frontier"
            )
        size = len(self.choices) * len(self.seeds)
        require(size <= LARGEST_FRONTIER, f"the grid has {size:,} runs, at most {LARGEST_FRONTIER:,}")

    @property
    def choices(self) -> tuple[Choice, ...]:
        """Every combination once, epsilon changing last."""
        product = itertools.product(
            self.nodes, self.people, self.aggregations, self.clips, self.schemes, self.modes, self.epsilons
        )
        found = (
            Choice(
                mode=mode,
                scheme=scheme,
                epsilon=epsilon,
                nodes=nodes,
                people=people,
                clip_norm=clip_norm,
                aggregations=None if mode is Mode.STATISTICS else aggregations,
            )
            for nodes, people, aggregations, clip_norm, scheme, mode, epsilon in product
        )
        return tuple(dict.fromkeys(found))


def variant(spec: TrainingStudy, choice: Choice, declared: Mapping[str, int]) -> TrainingStudy:
    """The study as it would read with a choice.

    Args:
        spec: The researcher's study.
        choice: What is tried.
        declared: Declared persons of each node, ``choice.nodes`` of them.

    Returns:
        The same question with the choice written in. What follows from the numbers of persons or from the
        mode (delta, clamp, allowance, spare attempts, tables of another mode) takes its default unless
        neither changed. The audit block is left out: it costs noise in coordinates that nobody uses here.

    Raises:
        ConfigError: no study can be written so; names the choice.
    """
    document = tomllib.loads(to_toml(spec))
    document.pop("audit", None)
    is_same_roster = dict(declared) == dict(spec.data.declared_persons)
    document["data"]["declared_persons"] = dict(declared)
    document["report"]["baselines"] = False
    document["privacy"] |= {
        "mode": choice.mode.value,
        "epsilon": choice.epsilon,
        "clip_norm": choice.clip_norm,
    }
    document["aggregation"]["scheme"] = choice.scheme.value
    if choice.mode is not spec.privacy.mode:
        document.pop("local", None)
        del document["training"]["aggregations"], document["training"]["spare_attempts"]
    if choice.aggregations is not None:
        document["training"]["aggregations"] = choice.aggregations
    if not is_same_roster:
        document["training"].pop("spare_attempts", None)
        del document["privacy"]["delta"]
        document["data"]["min_cohort"] = min(spec.data.min_cohort, *declared.values())
        document["aggregation"] = {"scheme": choice.scheme.value}
    try:
        return as_training(study_from_document(document))
    except ConfigError as fault:
        # The reader's own study file is in order: it is the list of an option that is not.
        raise ConfigError(f"with {choice.words}: {fault}") from None
