"""The result document of a study: what ``result.json`` holds and every report is made from.

What is not known is absent, never null: a deployment has no ``central`` arm, a province whose held-out
persons are all of one class has no AUC. Shares and epsilons have no unit; ``seconds`` are wall-clock seconds,
``bytes`` are bytes that crossed between the provinces and the coordinator.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fedmed.errors import ConfigError, UnknownVersion
from fedmed.types import Mode, Scheme

VERSION = 1
FAULTS_SHOWN = 20

Count = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class _Part(BaseModel):
    """What all parts share: frozen, no unknown key, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class StudyPart(_Part):
    """Which study this was.

    Attributes:
        id: The study's key, as in the study file.
        title: One line for people.
        digest: Digest of the canonical study bytes, hexadecimal: what the provinces approved.
        purpose: One of the purpose codes.
        owner: Who answers for the study.
    """

    id: str
    title: str
    digest: str
    purpose: str
    owner: str


class PrivacyPart(_Part):
    """The guarantee and what it stands on (add or remove one person, PLD accounting).

    Attributes:
        mode: How the study trained.
        epsilon: Planned: all aggregations and spare attempts.
        epsilon_spent: What the attempts that were charged cost, by the same accountant.
        epsilon_rdp: The spent epsilon by Renyi accounting, an independent and looser figure.
        delta: Failure probability of the guarantee.
        unit: What is protected; ``person`` = one insured person with all their rows.
        max_nodes_per_person: Homes k: at how many nodes one person's rows may lie.
        noise_multiplier: Standard deviation of the noise that is sure to be in a sum, over the sensitivity.
        dropouts: Nodes whose noise may be missing because they were lost (d).
        colluders: Nodes whose noise the attacker may know (c).
        fallback_epsilon: Spent epsilon for a person if all other nodes collude.
        clip_norm: Bound of one person's gradient.
    """

    mode: Mode
    epsilon: Positive
    epsilon_spent: NotNegative
    epsilon_rdp: NotNegative | None = None
    delta: Annotated[float, Field(gt=0, lt=1)]
    unit: Literal["person"]
    max_nodes_per_person: Annotated[int, Field(ge=1)]
    noise_multiplier: Positive
    dropouts: Count
    colluders: Count
    fallback_epsilon: NotNegative
    clip_norm: Positive


class LostNode(_Part):
    """A node that was lost.

    Attributes:
        node: Its key.
        aggregation: During which aggregation, from 1; 0 = the ceremony.
        phase: During which phase, for instance ``contribute`` or ``open``.
    """

    node: str
    aggregation: Count
    phase: str


class AggregationPart(_Part):
    """How contributions were summed.

    Attributes:
        scheme: How contributions were summed.
        nodes: Nodes in the roster.
        threshold: Opening shares that open a sum; 0 where nothing needs opening.
        aggregations: Sums that went into the model.
        attempts: Attempts charged to the budget; more than ``aggregations`` when some had to be repeated.
        contributors: The sets of nodes in the sums, each once, in the order of their first use.
        lost_nodes: Nodes that were lost, in order.
        values: Coordinates of one sum.
        bytes_up_per_value: Bytes from nodes to the coordinator in ``contribute`` and ``open``, over values,
            nodes and attempts.
        bytes_down_per_value: The same from the coordinator to the nodes.
        bytes_total: All bytes of the study, both ways, ceremony included.
        parameter_set: Name of the ring parameter set, ``plain`` for the reference scheme.
        margin_bits: Distance of the worst-case decryption error from a wrong result, in bits.
        payload_bits: Message bits in one ring coefficient.
        fields: Values packed in one coefficient.
        field_bits: Bits of one value on the wire, guard bit included.
    """

    scheme: Scheme
    nodes: Annotated[int, Field(ge=1)]
    threshold: Count
    aggregations: Annotated[int, Field(ge=1)]
    attempts: Annotated[int, Field(ge=1)]
    contributors: tuple[tuple[str, ...], ...] = ()
    lost_nodes: tuple[LostNode, ...] = ()
    values: Annotated[int, Field(ge=1)]
    bytes_up_per_value: NotNegative
    bytes_down_per_value: NotNegative
    bytes_total: Count
    parameter_set: str
    margin_bits: float | None = None
    payload_bits: Count | None = None
    fields: Count | None = None
    field_bits: Count | None = None

    @model_validator(mode="after")
    def _attempts_cover_aggregations(self) -> Self:
        """An aggregation takes at least one attempt."""
        if self.attempts < self.aggregations:
            raise ValueError("attempts must be at least aggregations")
        return self


class CalibrationBin(_Part):
    """Held-out persons with similar scores.

    Attributes:
        predicted: Their mean predicted risk.
        observed: The share of them with the outcome.
        persons: How many they are (simulation only).
    """

    predicted: Share
    observed: Share
    persons: Count | None = None


class NodeScore(_Part):
    """One arm on one node's own held-out persons; a metric that is undefined there is absent.

    Attributes:
        auc: Area under the ROC curve.
        average_precision: Area under the precision-recall curve.
        expected_over_observed: Predicted cases over observed cases; 1 is calibrated.
        persons: Held-out persons (simulation only).
        positives: Held-out persons with the outcome (simulation only).
        calibration: Bins in rising order of predicted risk.
    """

    auc: Share | None = None
    average_precision: Share | None = None
    expected_over_observed: NotNegative | None = None
    persons: Count | None = None
    positives: Count | None = None
    calibration: tuple[CalibrationBin, ...] = ()


class EstimatePart(_Part):
    """A metric from noisy counts.

    Attributes:
        value: The estimate.
        low: Lower end of its 95 % interval, which covers chance and noise.
        high: Upper end.
    """

    value: NotNegative
    low: NotNegative
    high: NotNegative


class RatePart(_Part):
    """Observed share of the outcome among persons of one score bin.

    Attributes:
        score: Score that stands for the bin.
        rate: The observed share.
        low: Lower end of its 95 % interval, which covers chance and noise.
        high: Upper end.
    """

    score: Share
    rate: Share
    low: Share
    high: Share


class EvaluationPart(_Part):
    """What the evaluation's noisy score histograms say of the study's model, over all nodes together.

    Attributes:
        epsilon: Planned epsilon of the evaluation alone; part of the study's.
        noise_std: Standard deviation of the noise in each count of persons.
        bins: Score bins, equal in logit.
        auc: Area under the ROC curve; persons of one bin count as ties.
        average_precision: Area under the precision-recall curve.
        expected_over_observed: Predicted over observed cases, each person at its bin's score.
        calibration: Bins with enough persons, in rising order of score.
    """

    epsilon: Positive
    noise_std: NotNegative
    bins: Annotated[int, Field(ge=2)]
    auc: EstimatePart
    average_precision: EstimatePart
    expected_over_observed: EstimatePart
    calibration: tuple[RatePart, ...] = ()


class Arm(_Part):
    """One way to train, scored on the held-out persons.

    Attributes:
        auc: Unweighted mean over nodes.
        auc_pooled_test: On the held-out persons of all nodes taken together.
        average_precision: Unweighted mean over nodes.
        expected_over_observed: Unweighted mean over nodes.
        per_node: Scores by node key.
    """

    auc: Share
    auc_pooled_test: Share | None = None
    average_precision: Share | None = None
    expected_over_observed: NotNegative | None = None
    per_node: dict[str, NodeScore] = Field(default_factory=dict)


class Arms(_Part):
    """All arms that are known; none in a deployment that released no scores.

    Attributes:
        federated: The study itself: distributed noise, allowance for dropouts and colluders.
        central: All persons in one place, same clip, aggregations and rate, noise without the allowance.
        alone_private: Each node by itself at the same epsilon.
        alone: Each node by itself without privacy.
        pooled: All persons in one place without privacy.
        statistics: One secure sum of second moments at the same epsilon, read out as a logistic model.
    """

    federated: Arm | None = None
    central: Arm | None = None
    alone_private: Arm | None = None
    alone: Arm | None = None
    pooled: Arm | None = None
    statistics: Arm | None = None

    @model_validator(mode="after")
    def _compare_with_something(self) -> Self:
        """The other arms are there to be compared with the study's own."""
        if self.federated is None and any(arm is not None for _, arm in self):
            raise ValueError("other arms need the arm federated")
        return self


class CurvePoint(_Part):
    """Mean AUC over nodes after some aggregations.

    Attributes:
        aggregation: How many, from 1 (0 = the initial model).
        federated: The study's model.
        central: The model trained in one place with privacy.
    """

    aggregation: Count
    federated: Share
    central: Share | None = None


class Phase(_Part):
    """What one phase took over the whole study.

    Attributes:
        phase: Its name: ``ceremony``, ``contribute``, ``open``, ``combine``, ``baselines``, ...
        seconds: Wall-clock time.
        bytes: Bytes moved, both ways.
    """

    phase: str
    seconds: NotNegative
    bytes: Count


class NodePart(_Part):
    """A node of the roster.

    Attributes:
        key: Its key in the study file.
        name: Its name in English.
        name_zh: Its name in Chinese.
        declared_persons: Insured persons it declared, a public figure.
        point: Its roster point, from 1.
    """

    key: str
    name: str
    name_zh: str | None = None
    declared_persons: Count
    point: Annotated[int, Field(ge=1)]

    @property
    def label(self) -> str:
        """The name people read: Chinese, then English."""
        return f"{self.name_zh} {self.name}" if self.name_zh else self.name


class DataPart(_Part):
    """What the study read.

    Attributes:
        name: Name of the dataset, for instance ``person_year``.
        synthetic: Whether a generator made it; a deployment's coordinator does not know.
        outcome: The label in words.
        held_out: Share of persons kept for scoring.
        inputs: Width of the model's input.
    """

    name: str
    synthetic: bool | None = None
    outcome: str | None = None
    held_out: Share | None = None
    inputs: Count | None = None


class Result(_Part):
    """The whole document.

    Attributes:
        version: Of this format.
        study: Which study.
        privacy: The guarantee.
        aggregation: The secure sums.
        arms: The scores.
        evaluation: The model's noisy metrics, where the study released them.
        curve: Mean AUC over aggregations, rising.
        phases: Time and bytes, in the order of the protocol.
        seconds: Wall-clock seconds by name; ``total`` is always there.
        nodes: The roster, in the order of its points.
        data: What was read.
        versions: Versions of FedMed and its libraries.
        created: When the study ended, ISO 8601 with a zone, given by the caller.
        simulation: Whether all nodes ran in one process on one machine.

    Guarantees:
        ``from_json(r.to_json()) == r``; a document without ``version`` 1, with an unknown key, a null, a
        number that is not finite, or a score of a node outside the roster is refused.
    """

    version: Literal[1] = 1
    study: StudyPart
    privacy: PrivacyPart
    aggregation: AggregationPart
    arms: Arms
    evaluation: EvaluationPart | None = None
    curve: tuple[CurvePoint, ...] = ()
    phases: tuple[Phase, ...] = ()
    seconds: dict[str, NotNegative]
    nodes: Annotated[tuple[NodePart, ...], Field(min_length=1)]
    data: DataPart | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    created: str
    simulation: bool

    @model_validator(mode="after")
    def _parts_agree(self) -> Self:
        """Names and times of the parts fit together."""
        keys = [node.key for node in self.nodes]
        points = [node.point for node in self.nodes]
        if len(set(keys)) != len(keys) or points != sorted(set(points)):
            raise ValueError("nodes must have different keys and rising points")
        if self.aggregation.nodes != len(keys):
            raise ValueError("aggregation.nodes must be the number of nodes")
        strangers = self._named_nodes() - set(keys)
        if strangers:
            raise ValueError(f"not in nodes: {', '.join(sorted(strangers))}")
        if "total" not in self.seconds:
            raise ValueError("seconds must hold total")
        if datetime.fromisoformat(self.created).tzinfo is None:
            raise ValueError("created must name its time zone")
        return self

    def _named_nodes(self) -> set[str]:
        """Keys of nodes that some part names."""
        named = {lost.node for lost in self.aggregation.lost_nodes}
        for contributors in self.aggregation.contributors:
            named.update(contributors)
        for arm in (a for _, a in self.arms if a is not None):
            named.update(arm.per_node)
        return named

    def to_json(self) -> str:
        """Write the document: UTF-8 text, two blanks of indent, unknown values left out."""
        return self.model_dump_json(exclude_none=True, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> Result:
        """Read a document.

        Raises:
            UnknownVersion: ``version`` is missing or not one that this code knows.
            ConfigError: The text is not JSON or not a result; all faults are named by place, no value shown.
        """
        try:
            document = json.loads(text)
        except ValueError as fault:
            raise ConfigError("the result is not JSON; give the result.json of a finished run") from fault
        found = document.get("version") if isinstance(document, Mapping) else None
        if type(found) is not int or found != VERSION:
            raise UnknownVersion(
                f"result version must be {VERSION}; read this file with the FedMed that wrote it"
            )
        nulls = list(_nulls(document, "result"))
        if nulls:
            raise ConfigError(
                f"the result holds null at {', '.join(nulls[:FAULTS_SHOWN])}; leave the keys out"
            )
        try:
            return cls.model_validate_json(text, strict=True)
        except ValidationError as fault:
            raise ConfigError(_explain(fault)) from None


def _nulls(value: object, place: str) -> Iterator[str]:
    """Name every place that holds null: what is not known is absent."""
    if value is None:
        yield place
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _nulls(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for at, inner in enumerate(value):
            yield from _nulls(inner, f"{place}.{at}")


def _explain(fault: ValidationError) -> str:
    """Say every fault by its place, without values."""
    found = fault.errors(include_url=False, include_context=False, include_input=False)
    lines = [f"  {'.'.join(str(step) for step in one['loc']) or 'result'}: {one['msg']}" for one in found]
    more = [f"  and {len(lines) - FAULTS_SHOWN} more"] if len(lines) > FAULTS_SHOWN else []
    return "\n".join(["the result document is not usable:", *lines[:FAULTS_SHOWN], *more])


def worst_node(arm: Arm) -> tuple[str, float] | None:
    """Name the node with the lowest AUC, and that AUC; None when no node has one."""
    known = [(score.auc, key) for key, score in arm.per_node.items() if score.auc is not None]
    if not known:
        return None
    auc, key = min(known)
    return key, auc
