"""The study file: what a study computes, on whose rows, under which privacy; one frozen value.

A study is declarative: provinces approve the digest of its canonical bytes, contributions bind to that
digest and the release names it. Everything that the provinces should approve is therefore written into
the value, defaults that follow from the declared counts included. What follows from the number of nodes
by the protocol (the allowance) stays None here and is worked out by `fedmed.protocol.schedule`.
"""

from __future__ import annotations

import datetime
import json
import math
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, Any, Literal, Self, get_args

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fedmed.errors import ConfigError
from fedmed.study_faults import readable_faults
from fedmed.types import DatasetSpec, Feature, FeatureKind, Label, Mode, OnDropout, Scheme, digest

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
METRICS = ("auc", "average_precision", "expected_over_observed")
LEAST_NODES, MOST_NODES = 3, 400
# Above this many nodes losses are likelier, so a study plans more spare attempts (PROTOCOL.md section 4).
FEW_NODES = 8
FORMAT_VERSION = 1
# A study may state a smaller delta than its default, never one that gives up a noticeable share of persons:
# at delta = 0.9 an epsilon of 1 needs almost no noise, and a policy that caps epsilon would cap nothing.
LARGEST_DELTA = 1e-3

Slug = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Line = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f]{1,200}$")]
Number = Annotated[float, Field(allow_inf_nan=False)]


class _Table(BaseModel):
    """A section of the study file: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StudyTable(_Table):
    """``[study]``: who asks, what for, until when."""

    id: Slug
    title: Line
    purpose: Purpose
    owner: Line
    expires: datetime.date


class LabelTable(_Table):
    """``data.label``: the 0/1 outcome, see `fedmed.types.Label`."""

    column: Line
    at_least: Number | None = None


class FeatureTable(_Table):
    """One entry of ``[[data.features]]``, see `fedmed.types.Feature`."""

    name: Line
    kind: FeatureKind
    low: Number = 0.0
    high: Number = 1.0
    log: bool = False
    categories: tuple[Line, ...] = ()
    vocabulary_size: int = 0

    @model_validator(mode="after")
    def _is_a_feature(self) -> Self:
        """Report what `Feature` refuses as a fault of this entry."""
        _checked(self.feature)
        return self

    def feature(self) -> Feature:
        """The same column as a `fedmed.types.Feature`."""
        return Feature(**{key: getattr(self, key) for key in FeatureTable.model_fields})


class DataTable(_Table):
    """``[data]``: the columns, their public bounds, the split and the public population counts.

    Attributes:
        dataset: Name of the dataset at every node.
        person: Column with the person's pseudonym.
        label: The outcome.
        features: Columns in the order of the model's inputs, ``codes`` last.
        held_out: Share of persons kept from training, 0 <= share < 1.
        min_cohort: Least number of insured persons at a node (>= 1); custodians compare declared counts.
        declared_persons: Public number of insured persons of each node; the order is the roster's
            (points 1..n). 3 to 400 nodes.
    """

    dataset: Slug
    person: Line = "psn_no"
    label: LabelTable
    features: Annotated[tuple[FeatureTable, ...], Field(min_length=1)]
    held_out: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.3
    min_cohort: Annotated[int, Field(ge=1)] = 100
    declared_persons: Mapping[Slug, Annotated[int, Field(ge=1, le=2_000_000_000)]]

    @field_validator("declared_persons")
    @classmethod
    def _has_enough_nodes(cls, value: Mapping[str, int]) -> Mapping[str, int]:
        if not LEAST_NODES <= len(value) <= MOST_NODES:
            raise ValueError(f"needs {LEAST_NODES} to {MOST_NODES} nodes, got {len(value)}")
        return value

    @model_validator(mode="after")
    def _is_a_dataset(self) -> Self:
        """Refuse what `DatasetSpec` refuses, and inputs that hold the answer or the pseudonym."""
        _checked(self.dataset_spec)
        for reserved, role in ((self.label.column, "label"), (self.person, "person")):
            if any(feature.name == reserved for feature in self.features):
                raise ValueError(f"the {role} column {reserved} must not be a feature")
        return self

    def dataset_spec(self) -> DatasetSpec:
        """The part that a node's reader needs."""
        return DatasetSpec(
            name=self.dataset,
            person=self.person,
            label=Label(column=self.label.column, at_least=self.label.at_least),
            features=tuple(entry.feature() for entry in self.features),
            held_out=self.held_out,
        )


class ModelTable(_Table):
    """``[model]``: ``logistic``, or ``mlp`` with the widths of its hidden layers."""

    kind: Literal["logistic", "mlp"] = "logistic"
    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = ()

    @model_validator(mode="after")
    def _hidden_fits_kind(self) -> Self:
        if (self.kind == "mlp") != bool(self.hidden):
            raise ValueError("hidden must be empty for logistic and hold a width, as [64], for mlp")
        return self


class PrivacyTable(_Table):
    """``[privacy]``: what one insured person may lose by this study.

    Attributes:
        mode: How the study trains.
        epsilon: Planned epsilon per person, 0 < epsilon <= 100.
        delta: Planned delta, 0 < delta <= min(1e-3, 1 / (10 N)), N all training persons; default
            min(1e-5, 1 / (10 N)).
        unit: One insured person with all rows; nothing else is offered.
        max_nodes_per_person: Nodes at which one person may appear (>= 1, at most all).
        clip_norm: Bound C > 0 of one person's gradient.
    """

    mode: Mode = Mode.AGGREGATE
    epsilon: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
    delta: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)]
    unit: Literal["person"] = "person"
    max_nodes_per_person: Annotated[int, Field(ge=1)] = 1
    clip_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class AggregationTable(_Table):
    """``[aggregation]``: who sums and who opens; None where the protocol's default for n nodes holds.

    Attributes:
        scheme: ``threshold``, or ``plain`` where every policy says ``research``.
        threshold: Opening shares needed.
        planned_contributors: Contributors that the noise is planned for; None = all nodes.
        min_contributors: Least contributors of a sum.
        dropouts: Contributors that may be lost without breaking the claimed epsilon.
        colluders: Contributors whose noise an attacker may know without breaking it.
        on_dropout: What a lost contributor does to the study.
        clamp_persons: A node's sum is clamped to this many clipped gradients; default the training
            persons of the largest declared node.
    """

    scheme: Scheme = Scheme.THRESHOLD
    threshold: Annotated[int, Field(ge=2)] | None = None
    planned_contributors: Annotated[int, Field(ge=LEAST_NODES)] | None = None
    min_contributors: Annotated[int, Field(ge=LEAST_NODES)] | None = None
    dropouts: Annotated[int, Field(ge=0)] | None = None
    colluders: Annotated[int, Field(ge=0)] | None = None
    on_dropout: OnDropout = OnDropout.STOP
    clamp_persons: Annotated[int, Field(ge=1)]


class TrainingTable(_Table):
    """``[training]``: rounds and the optimiser's settings.

    Attributes:
        aggregations: Training rounds, 1 to 1000.
        spare_attempts: Attempts planned beyond them; default 2, above 8 nodes 4. They are paid for in
            the plan, so more of them mean more noise.
        learning_rate: Step on the mean clipped gradient, > 0.
        momentum: 0 <= momentum < 1.
        rows_of_a_person: Whether a person's rows enter as their mean or their sum before clipping.
    """

    aggregations: Annotated[int, Field(ge=1, le=1000)] = 40
    spare_attempts: Annotated[int, Field(ge=0, le=100)]
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.9
    rows_of_a_person: Literal["mean", "sum"] = "mean"


class ReportTable(_Table):
    """``[report]``: which comparison arms, metrics and histogram bins the report shows."""

    baselines: bool = True
    metrics: Annotated[
        tuple[Literal["auc", "average_precision", "expected_over_observed"], ...], Field(min_length=1)
    ] = METRICS  # type: ignore[assignment]  # the tuple above, whose items mypy widens to str
    bins: Annotated[int, Field(ge=2, le=200)] = 20


class StudySpec(_Table):
    """A whole study. Read it with `load_study`; the sections carry the names of the file's tables."""

    study: StudyTable
    data: DataTable
    model: ModelTable
    privacy: PrivacyTable
    aggregation: AggregationTable
    training: TrainingTable
    report: ReportTable

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
        largest = min(LARGEST_DELTA, _one_in_ten(self.total_training_persons))
        if self.privacy.delta > largest:
            raise ValueError(
                f"privacy.delta must be at most {largest:.3g} for {self.total_training_persons} training "
                f"persons (1e-3, and a tenth over their number), got {self.privacy.delta:g}: leave it out"
            )
        return self

    @property
    def id(self) -> str:
        """Short name of the study: lower-case letters, digits, ``-`` and ``_``."""
        return self.study.id

    @property
    def title(self) -> str:
        """One line for people."""
        return self.study.title

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
    def dataset_spec(self) -> DatasetSpec:
        """What a node's reader needs of ``[data]``."""
        return self.data.dataset_spec()

    @property
    def nodes(self) -> tuple[str, ...]:
        """Node keys in the order of the roster: the node at place i has point i + 1."""
        return tuple(self.data.declared_persons)

    def training_persons(self, node: str) -> int:
        """Public number of persons that train at a node: floor(declared * (1 - held_out)).

        Raises:
            ConfigError: the study has no such node.
        """
        if node not in self.data.declared_persons:
            raise ConfigError(f"node {node!r} is not in the study; its nodes are {', '.join(self.nodes)}")
        return training_share(self.data.declared_persons[node], self.data.held_out)

    @property
    def total_training_persons(self) -> int:
        """Sum of `training_persons` over all nodes: the public N that a sum is divided by."""
        return sum(self.training_persons(node) for node in self.nodes)


def training_share(declared: int, held_out: float) -> int:
    """Persons that train out of ``declared``: the floor of exact decimal arithmetic, equal everywhere."""
    return math.floor(declared * (1 - Fraction(repr(held_out))))


def _one_in_ten(persons: int) -> float:
    """Delta at which one chance in ten is left that any of that many persons is harmed at all."""
    return 1 / (10 * max(1, persons))


def load_study(text: str) -> StudySpec:
    """Read a study file.

    Args:
        text: TOML, sections as in DESIGN.md section 6.

    Returns:
        The study with every default that depends only on the file filled in.

    Raises:
        ConfigError: all faults of the file in one error, one line each; an unknown key names the nearest
            right one.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"the study file is not TOML: {fault}") from None
    return study_from_document(document)


def study_from_document(document: Mapping[str, object]) -> StudySpec:
    """Check a study given as nested tables, as `load_study` does; raises `ConfigError` likewise."""
    filled = _with_defaults(document)
    try:
        # By way of JSON, where strict types and ISO dates, arrays and names of enums go together.
        return StudySpec.model_validate_json(json.dumps(filled, default=str))
    except ValidationError as fault:
        lines = readable_faults(fault.errors(include_url=False), StudySpec)
        raise ConfigError("\n  ".join((f"the study file has {len(lines)} fault(s):", *lines))) from None


def to_toml(spec: StudySpec) -> str:
    """Write a study as TOML.

    Guarantees:
        ``load_study(to_toml(spec)) == spec``.
    """
    return tomli_w.dumps(_document(spec, keep_date=True))


def canonical_bytes(spec: StudySpec) -> bytes:
    """The one byte string that stands for a study: JSON, keys sorted, no whitespace, floats by ``repr``.

    The declared persons are a list of pairs, because their order is the roster's.
    """
    document = _document(spec, keep_date=False)
    document["data"]["declared_persons"] = [[k, v] for k, v in spec.data.declared_persons.items()]
    document["version"] = FORMAT_VERSION
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.encode()


def from_canonical_bytes(data: bytes) -> StudySpec:
    """Read canonical bytes back.

    Raises:
        ConfigError: the bytes are not JSON of this version, not a study, or not their own canonical form
            (a second spelling of one study would have a second digest).
    """
    try:
        document = json.loads(data)
        version = document.pop("version")
        document["data"]["declared_persons"] = dict(document["data"]["declared_persons"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ConfigError("these bytes are not a study in canonical form; send canonical_bytes") from None
    if version != FORMAT_VERSION:
        raise ConfigError(f"the study's format has version {version}, this program reads {FORMAT_VERSION}")
    spec = study_from_document(document)
    if canonical_bytes(spec) != data:
        raise ConfigError("the study's bytes are not in canonical form; send those of canonical_bytes")
    return spec


def study_digest(data: bytes) -> bytes:
    """Digest that provinces approve: 32 bytes over the canonical bytes of a study."""
    return digest("fedmed/study", data)


def _document(spec: StudySpec, *, keep_date: bool) -> dict[str, Any]:
    """Nested plain tables without the keys that are None; `Any` because TOML and JSON values are mixed."""
    document = spec.model_dump(mode="json", exclude_none=True)
    if keep_date:
        document["study"]["expires"] = spec.expires
    return document


def _checked(build: Any) -> None:
    """Turn the `ConfigError` of a value into the `ValueError` that pydantic collects."""
    try:
        build()
    except ConfigError as fault:
        raise ValueError(str(fault)) from None


def _with_defaults(document: Mapping[str, object]) -> dict[str, object]:
    """Add missing optional sections, and the defaults that follow from the declared counts.

    Never fails: where the counts are unusable, a placeholder keeps that one fault from showing twice.
    """
    filled: dict[str, object] = {"model": {}, "aggregation": {}, "training": {}, "report": {}}
    filled.update(document)
    shares = _training_shares(document.get("data"))
    defaults: dict[str, dict[str, float]] = {
        "privacy": {"delta": min(1e-5, _one_in_ten(sum(shares)))},
        "aggregation": {"clamp_persons": max(1, *shares)},
        "training": {"spare_attempts": 2 if len(shares) <= FEW_NODES else 4},
    }
    for section, values in defaults.items():
        given = filled.get(section)
        if isinstance(given, Mapping):
            filled[section] = {**values, **given}
    return filled


def _training_shares(data: object) -> list[int]:
    """Training persons of each node of an unchecked ``[data]`` table; [0, 0] where it is unusable."""
    declared = data.get("declared_persons") if isinstance(data, Mapping) else None
    held_out = data.get("held_out", 0.3) if isinstance(data, Mapping) else None
    if not isinstance(declared, Mapping) or not isinstance(held_out, float | int) or len(declared) < 2:
        return [0, 0]
    if not 0 <= held_out < 1 or not all(type(count) is int for count in declared.values()):
        return [0, 0]
    return [training_share(count, float(held_out)) for count in declared.values()]
