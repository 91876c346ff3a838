"""The sections that the files of all studies have, and what a study is whatever it computes."""

from __future__ import annotations

import datetime
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from fedmed.errors import ConfigError
from fedmed.types import Mode, OnDropout, Protection, Scheme, StudyKind

Purpose = Literal[
    "drug_development",
    "post_marketing_study",
    "value_assessment",
    "healthcare",
    "insurance_finance",
    "government_service",
    "academic_research",
    "operational_service",
    "supervision",
    "long_term_care",
    "livelihood",
    "security",
]
PURPOSES: tuple[str, ...] = get_args(Purpose)
LEAST_NODES, MOST_NODES = 3, 400
# Above this many nodes losses are likelier, so a study plans more spare attempts (PROTOCOL.md section 4).
FEW_NODES = 8
# A study may state a smaller delta than its default, never one that gives up a noticeable share of persons:
# at delta = 0.9 an epsilon of 1 needs almost no noise, and a policy that caps epsilon would cap nothing.
LARGEST_DELTA = 1e-3

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]
Epsilon = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
Delta = Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
SpareAttempts = Annotated[int, Field(ge=0, le=100)]


class Table(BaseModel):
    """A section of the study file: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StudyTable(Table):
    """``[study]``: who asks, what kind of question, what for, until when."""

    id: Slug
    title: Line
    kind: StudyKind = StudyKind.TRAINING
    purpose: Purpose
    owner: Line
    expires: datetime.date


class DataTable(Table):
    """``[data]``: whose rows, and the public population counts. Kinds add what they read of a row.

    Attributes:
        dataset: Name of the dataset at every node.
        person: Column with the person's pseudonym.
        feature_set: ``name@digest`` of the feature set that the columns are made by; a custodian that derives
            its rows by another one refuses the study. None = the study does not say.
        min_cohort: Least number of insured persons at a node (>= 1); custodians compare declared counts.
        declared_persons: Public number of insured persons of each node; the order is the roster's
            (points 1..n). 3 to 400 nodes.
    """

    dataset: Slug
    person: Line = "psn_no"
    feature_set: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}@[0-9a-f]{64}$")] | None = None
    min_cohort: Annotated[int, Field(ge=1)] = 100
    declared_persons: Mapping[Slug, Annotated[int, Field(ge=1, le=2_000_000_000)]]

    @field_validator("declared_persons")
    @classmethod
    def _has_enough_nodes(cls, value: Mapping[str, int]) -> Mapping[str, int]:
        if not LEAST_NODES <= len(value) <= MOST_NODES:
            raise ValueError(f"needs {LEAST_NODES} to {MOST_NODES} nodes, got {len(value)}")
        return value


class PrivacyTable(Table):
    """``[privacy]``: what one insured person may lose by this study. Kinds say which modes they offer.

    Attributes:
        mode: How the study computes.
        epsilon: Planned epsilon per person over all rounds, 0 < epsilon <= 100.
        delta: Planned delta, 0 < delta <= min(1e-3, 1 / (10 N)), N all protected persons; default
            min(1e-5, 1 / (10 N)).
        unit: One insured person with all rows; nothing else is offered.
        max_nodes_per_person: Nodes at which one person may appear (>= 1, at most all).
    """

    MODES: ClassVar[tuple[Mode, ...]]
    """Modes that the kind offers."""

    mode: Mode
    epsilon: Epsilon
    delta: Delta
    unit: Literal["person"] = "person"
    max_nodes_per_person: Annotated[int, Field(ge=1)] = 1

    @field_validator("mode")
    @classmethod
    def _is_offered(cls, value: Mode) -> Mode:
        if value not in cls.MODES:
            offered = ", ".join(repr(mode.value) for mode in cls.MODES)
            raise ValueError(f"must be one of {offered}, got {value.value!r}")
        return value

    @property
    def is_exact(self) -> bool:
        """Whether sums are released without noise."""
        return False


class ExactOrNoisyPrivacyTable(PrivacyTable):
    """``[privacy]`` of a kind that may also be released exactly.

    Attributes:
        protection: ``noise``, or ``exact`` where every province's policy allows it. An exact study has no
            epsilon and no delta: here they are infinity and 1, which is true of any release, so whoever
            forgets to ask `is_exact` refuses it.
    """

    protection: Protection = Protection.NOISE
    epsilon: Epsilon = math.inf
    delta: Delta = 1.0

    @model_validator(mode="after")
    def _epsilon_belongs_to_noise(self) -> Self:
        given = self.model_fields_set & {"epsilon", "delta"}
        if self.is_exact and given:
            raise ValueError(f"exact sums have no {' and no '.join(sorted(given))}: leave it out")
        if not self.is_exact and "epsilon" not in given:
            raise ValueError('epsilon is missing (or say protection = "exact")')
        return self

    @property
    def is_exact(self) -> bool:
        """Whether sums are released without noise."""
        return self.protection is Protection.EXACT


class AggregationTable(Table):
    """``[aggregation]``: who sums and who opens; None where the protocol's default for n nodes holds.

    Attributes:
        scheme: ``threshold``; for comparison ``ckks``, whose key every province holds, where every policy
            lists it, and ``plain`` where every policy says ``research``.
        threshold: Opening shares needed.
        planned_contributors: Contributors that the noise is planned for; None = all nodes.
        min_contributors: Least contributors of a sum.
        dropouts: Contributors that may be lost without breaking the claimed epsilon.
        colluders: Contributors whose noise an attacker may know without breaking it.
        on_dropout: What a lost contributor does to the study.
    """

    scheme: Scheme = Scheme.THRESHOLD
    threshold: Annotated[int, Field(ge=2)] | None = None
    planned_contributors: Annotated[int, Field(ge=LEAST_NODES)] | None = None
    min_contributors: Annotated[int, Field(ge=LEAST_NODES)] | None = None
    dropouts: Annotated[int, Field(ge=0)] | None = None
    colluders: Annotated[int, Field(ge=0)] | None = None
    on_dropout: OnDropout = OnDropout.STOP


class StudySpec(Table):
    """What every study has. Read one with `load_study`; the sections carry the names of the file's tables."""

    study: StudyTable
    data: DataTable
    privacy: PrivacyTable
    aggregation: AggregationTable

    @classmethod
    def defaults(cls, document: Mapping[str, object]) -> dict[str, dict[str, object]]:
        """Defaults that follow from the rest of an unchecked file, by section; never fails."""
        privacy = document.get("privacy")
        if isinstance(privacy, Mapping) and privacy.get("protection") == Protection.EXACT.value:
            return {"aggregation": {}}
        persons = sum(declared_counts(document.get("data")))
        return {"aggregation": {}, "privacy": {"delta": min(1e-5, one_in_ten(persons))}}

    @model_validator(mode="after")
    def _counts_fit_the_roster(self) -> Self:
        for name, value in (
            ("aggregation.threshold", self.aggregation.threshold),
            ("aggregation.planned_contributors", self.aggregation.planned_contributors),
            ("aggregation.min_contributors", self.aggregation.min_contributors),
            ("privacy.max_nodes_per_person", self.privacy.max_nodes_per_person),
        ):
            if value is not None and value > len(self.nodes):
                raise ValueError(f"{name} must be at most the {len(self.nodes)} declared nodes, got {value}")
        return self

    @model_validator(mode="after")
    def _delta_is_small(self) -> Self:
        largest = min(LARGEST_DELTA, one_in_ten(self.protected_persons))
        if not self.privacy.is_exact and self.privacy.delta > largest:
            raise ValueError(
                f"privacy.delta must be at most {largest:.3g} for {self.protected_persons} protected "
                f"persons (1e-3, and a tenth over their number), got {self.privacy.delta:g}: leave it out"
            )
        return self

    @property
    @abstractmethod
    def columns(self) -> tuple[str, ...]:
        """Columns that a node reads, each once, the person's among them."""

    @property
    @abstractmethod
    def spare_attempts(self) -> int:
        """Attempts planned beyond one a round, over the whole study."""

    @property
    def protected_persons(self) -> int:
        """Public number of persons whom the rounds compute on."""
        return sum(self.data.declared_persons.values())

    @property
    def id(self) -> str:
        """Short name of the study: lower-case letters, digits, ``-`` and ``_``."""
        return self.study.id

    @property
    def title(self) -> str:
        """One line for people."""
        return self.study.title

    @property
    def kind(self) -> StudyKind:
        """What the study asks."""
        return self.study.kind

    @property
    def purpose(self) -> str:
        """One of `PURPOSES`."""
        return self.study.purpose

    @property
    def owner(self) -> str:
        """Who answers for the study."""
        return self.study.owner

    @property
    def expires(self) -> datetime.date:
        """Last day on which a custodian answers."""
        return self.study.expires

    @property
    def nodes(self) -> tuple[str, ...]:
        """Node keys in the order of the roster: the node at place i has point i + 1."""
        return tuple(self.data.declared_persons)


def one_in_ten(persons: int) -> float:
    """Delta at which one chance in ten is left that any of that many persons is harmed at all."""
    return 1 / (10 * max(1, persons))


def default_spare_attempts(nodes: int) -> int:
    """Spare attempts of a study that does not say: 2, above 8 nodes 4."""
    return 2 if nodes <= FEW_NODES else 4


def declared_counts(data: object) -> list[int]:
    """Declared persons of each node of an unchecked ``[data]`` table; [0, 0] where it is unusable.

    The placeholder keeps that one fault of the file from showing twice.
    """
    declared = data.get("declared_persons") if isinstance(data, Mapping) else None
    if not isinstance(declared, Mapping) or len(declared) < 2:
        return [0, 0]
    return list(declared.values()) if all(type(count) is int for count in declared.values()) else [0, 0]


def refused_as_fault(build: Callable[[], object]) -> None:
    """Turn the `ConfigError` of a value into the `ValueError` that pydantic collects."""
    try:
        build()
    except ConfigError as fault:
        raise ValueError(str(fault)) from None
