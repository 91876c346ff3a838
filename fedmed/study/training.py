"""A study that trains a model: ``[study] kind = "training"``, the kind of a file that names none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from fedmed.errors import ConfigError
from fedmed.study.modes import MOST_MOMENT_INPUTS, LocalTable, mode_defaults, mode_of
from fedmed.study.sections import (
    AggregationTable,
    DataTable,
    Epsilon,
    Line,
    Number,
    PrivacyTable,
    SpareAttempts,
    StudySpec,
    Table,
    declared_counts,
    default_spare_attempts,
    one_in_ten,
    refused_as_fault,
)
from fedmed.types import DatasetSpec, Feature, FeatureKind, Label, Mode

METRICS = ("auc", "average_precision", "expected_over_observed")
# Fewer than a hundred fair coins could leave too few canaries of one side; more than these only cost bytes.
FEWEST_CANARIES, MOST_CANARIES = 100, 4096


class LabelTable(Table):
    """``data.label``: the 0/1 outcome, see `fedmed.types.Label`."""

    column: Line
    at_least: Number | None = None


class FeatureTable(Table):
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
        refused_as_fault(self.feature)
        return self

    def feature(self) -> Feature:
        """The same column as a `fedmed.types.Feature`."""
        return Feature(**{key: getattr(self, key) for key in FeatureTable.model_fields})


class ExamplesTable(DataTable):
    """``[data]`` of a training study: the columns, their public bounds and the split besides.

    Attributes:
        label: The outcome.
        features: Columns in the order of the model's inputs, ``codes`` last.
        held_out: Share of persons kept from training, 0 <= share < 1.
    """

    label: LabelTable
    features: Annotated[tuple[FeatureTable, ...], Field(min_length=1)]
    held_out: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.3

    @model_validator(mode="after")
    def _is_a_dataset(self) -> Self:
        """Refuse what `DatasetSpec` refuses, and inputs that hold the answer or the pseudonym."""
        refused_as_fault(self.dataset_spec)
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


class ModelTable(Table):
    """``[model]``: ``logistic``, or ``mlp`` with the widths of its hidden layers."""

    kind: Literal["logistic", "mlp"] = "logistic"
    hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = ()

    @model_validator(mode="after")
    def _hidden_fits_kind(self) -> Self:
        if (self.kind == "mlp") != bool(self.hidden):
            raise ValueError("hidden must be empty for logistic and hold a width, as [64], for mlp")
        return self


class TrainingPrivacyTable(PrivacyTable):
    """``[privacy]`` of a training study: always with noise.

    Attributes:
        clip_norm: Bound C > 0 of one person's gradient, at all of the person's nodes together; in mode
            ``statistics`` of a row of inputs with the 1 of the bias, which bounds the gradient as well.
    """

    MODES: ClassVar[tuple[Mode, ...]] = (Mode.AGGREGATE, Mode.LOCAL, Mode.STATISTICS)

    mode: Mode = Mode.AGGREGATE
    clip_norm: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class TrainingAggregationTable(AggregationTable):
    """``[aggregation]`` of a training study.

    Attributes:
        clamp_persons: A node's sum is clamped to this many clipped gradients; default the training
            persons of the largest declared node.
    """

    clamp_persons: Annotated[int, Field(ge=1)]


class TrainingTable(Table):
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
    spare_attempts: SpareAttempts
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 1.0
    momentum: Annotated[float, Field(ge=0, lt=1, allow_inf_nan=False)] = 0.9
    rows_of_a_person: Literal["mean", "sum"] = "mean"


class ReportTable(Table):
    """``[report]``: which comparison arms, metrics and histogram bins the report shows.

    Attributes:
        baselines: Whether a simulation trains the comparison arms.
        metrics: Scores shown.
        bins: Bins of score histograms.
        evaluation_epsilon: Part of ``privacy.epsilon`` that a noisy score histogram on held-out persons,
            opened after training, may spend; None = no such round. Training gets what is left.
    """

    baselines: bool = True
    metrics: Annotated[
        tuple[Literal["auc", "average_precision", "expected_over_observed"], ...], Field(min_length=1)
    ] = METRICS  # type: ignore[assignment]  # the tuple above, whose items mypy widens to str
    bins: Annotated[int, Field(ge=2, le=200)] = 20
    evaluation_epsilon: Epsilon | None = None


class AuditTable(Table):
    """``[audit]``: made-up persons behind the model's coordinates, by which a release is checked.

    Attributes:
        canaries: How many, over all nodes; at least one a node. They cost noise in as many coordinates more
            and nothing of anybody's privacy.
    """

    canaries: Annotated[int, Field(ge=FEWEST_CANARIES, le=MOST_CANARIES)] = 1000


class TrainingStudy(StudySpec):
    """A study that trains a model, may evaluate it on held-out persons, and may carry an audit block."""

    data: ExamplesTable
    model: ModelTable
    privacy: TrainingPrivacyTable
    aggregation: TrainingAggregationTable
    training: TrainingTable
    report: ReportTable
    audit: AuditTable | None = None
    local: LocalTable | None = None

    @classmethod
    def defaults(cls, document: Mapping[str, object]) -> dict[str, dict[str, object]]:
        """See `StudySpec.defaults`: delta and clamp count training persons."""
        shares = _training_shares(document.get("data"))
        of_mode = mode_defaults(mode_of(document))
        training = {"spare_attempts": default_spare_attempts(len(shares)), **of_mode.get("training", {})}
        return {
            "model": {},
            "privacy": {"delta": min(1e-5, one_in_ten(sum(shares)))},
            "aggregation": {"clamp_persons": max(1, *shares)},
            "report": {},
            **of_mode,
            "training": training,
        }

    @model_validator(mode="after")
    def _every_node_has_a_canary(self) -> Self:
        if self.audit is None:
            return self
        if self.privacy.mode is not Mode.AGGREGATE:
            raise ValueError('[audit] checks the noise on sums: only privacy.mode = "aggregate" has it')
        if self.audit.canaries < len(self.nodes):
            raise ValueError(
                f"audit.canaries must be at least the {len(self.nodes)} declared nodes, got "
                f"{self.audit.canaries}"
            )
        return self

    @model_validator(mode="after")
    def _fits_its_mode(self) -> Self:
        mode = self.privacy.mode
        if (self.local is not None) != (mode is Mode.LOCAL):
            raise ValueError('the section [local] belongs to privacy.mode = "local" and to no other')
        if mode is not Mode.STATISTICS:
            return self
        for wrong, remedy in (
            (self.model.kind != "logistic", 'model.kind must be "logistic": two moments give no other'),
            (self.training.aggregations != 1, "training.aggregations must be 1: moments are summed once"),
            (self.training.rows_of_a_person != "mean", 'training.rows_of_a_person must be "mean"'),
            (self.data.dataset_spec().inputs > MOST_MOMENT_INPUTS, f"at most {MOST_MOMENT_INPUTS} inputs"),
        ):
            if wrong:
                raise ValueError(f'privacy.mode = "statistics": {remedy}')
        return self

    @model_validator(mode="after")
    def _evaluation_leaves_something(self) -> Self:
        evaluation = self.report.evaluation_epsilon
        if evaluation is None:
            return self
        if evaluation >= self.privacy.epsilon:
            raise ValueError(
                f"report.evaluation_epsilon must be below privacy.epsilon {self.privacy.epsilon:g}, of which "
                f"it is a part, got {evaluation:g}"
            )
        if self.data.held_out == 0:
            raise ValueError("report.evaluation_epsilon needs held-out persons: raise data.held_out")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """See `StudySpec.columns`: person, outcome, features."""
        names = (f.name for f in self.data.features)
        return tuple(dict.fromkeys([self.data.person, self.data.label.column, *names]))

    @property
    def spare_attempts(self) -> int:
        """See `StudySpec.spare_attempts`."""
        return self.training.spare_attempts

    @property
    def protected_persons(self) -> int:
        """See `StudySpec.protected_persons`: held-out persons are others than these, and not more exposed."""
        return self.total_training_persons

    @property
    def dataset_spec(self) -> DatasetSpec:
        """What a node's reader needs of ``[data]``."""
        return self.data.dataset_spec()

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


def as_training(spec: StudySpec) -> TrainingStudy:
    """The same study, where only a training study will do; raises `ConfigError` for any other."""
    if not isinstance(spec, TrainingStudy):
        raise ConfigError(f'study.kind is {spec.kind.value}, but this is for studies with kind = "training"')
    return spec


def training_share(declared: int, held_out: float) -> int:
    """Persons that train out of ``declared``: the floor of exact decimal arithmetic, equal everywhere."""
    return math.floor(declared * (1 - Fraction(repr(held_out))))


def _training_shares(data: object) -> list[int]:
    """Training persons of each node of an unchecked ``[data]`` table; [0, 0] where it is unusable."""
    held_out = data.get("held_out", 0.3) if isinstance(data, Mapping) else None
    if not isinstance(held_out, float | int) or not 0 <= held_out < 1:
        return [0, 0]
    return [training_share(count, float(held_out)) for count in declared_counts(data)]
