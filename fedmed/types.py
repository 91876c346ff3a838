"""Frozen values that flow between FedMed's rooms.

Only values live here: no effect, no cryptography, no policy. Every class checks itself once.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from enum import Enum

import numpy as np
import numpy.typing as npt

from fedmed.errors import ConfigError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
WordArray = npt.NDArray[np.uint64]

DIGEST_BYTES = 32
NONCE_BYTES = 16


class StudyKind(Enum):
    """What a study asks; `fedmed.study.kinds` says which of them can be run."""

    TRAINING = "training"
    STATISTICS = "statistics"
    REGRESSION = "regression"
    SURVIVAL = "survival"


class Mode(Enum):
    """How a study computes; closed, because an own variant could void the guarantee.

    ``aggregate`` sums clipped gradients round by round, ``local`` sums models that each node trained with
    full noise of its own, ``statistics`` sums what persons count for, once.
    """

    AGGREGATE = "aggregate"
    LOCAL = "local"
    STATISTICS = "statistics"


class Protection(Enum):
    """What protects a person in a released sum."""

    NOISE = "noise"
    EXACT = "exact"


class Scheme(Enum):
    """How contributions are summed."""

    THRESHOLD = "threshold"
    CKKS = "ckks"
    PLAIN = "plain"

    @property
    def has_keys(self) -> bool:
        """Whether a ceremony deals keys for an epoch; sums travel unencrypted otherwise."""
        return self is not Scheme.PLAIN


class OnDropout(Enum):
    """What a study does when a contributor is lost."""

    STOP = "stop"
    CONTINUE = "continue"


class RoundKind(Enum):
    """What a round computes; fixed for every round number by the study, never by a plan."""

    TRAINING = "training"
    EVALUATION = "evaluation"
    STATISTICS = "statistics"
    REGRESSION = "regression"
    SURVIVAL = "survival"
    SUPPORT = "support"
    REHEARSAL = "rehearsal"


def digest(label: str, *parts: bytes) -> bytes:
    """Hash length-prefixed parts under a label.

    Args:
        label: Domain of the hash, for instance ``fedmed/study``.
        *parts: Any bytes; lengths are part of the hash, so no two lists of parts collide.

    Returns:
        32 bytes of SHAKE-256.
    """
    h = hashlib.shake_256()
    for part in (label.encode(), *parts):
        h.update(len(part).to_bytes(8, "little"))
        h.update(part)
    return h.digest(DIGEST_BYTES)


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacyEvent:
    """One release, as the ledger records it: a Gaussian sum over a full batch of persons.

    Attributes:
        noise_multiplier: Standard deviation of the noise that is sure to be in the sum, over the
            sensitivity (dimensionless, > 0).
        sample_rate: Chance that one person is in the batch; 1.0 = full batch.
        count: How many such releases compose (>= 1).
    """

    noise_multiplier: float
    sample_rate: float = 1.0
    count: int = 1

    def __post_init__(self) -> None:
        require(
            math.isfinite(self.noise_multiplier) and self.noise_multiplier > 0,
            f"noise_multiplier must be finite and > 0, got {self.noise_multiplier}",
        )
        require(0 < self.sample_rate <= 1, f"sample_rate must be in (0, 1], got {self.sample_rate}")
        require(self.count >= 1, f"count must be >= 1, got {self.count}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Whose noise may be missing from a sum, and the sets that follow (PROTOCOL.md section 5).

    Attributes:
        planned_contributors: Contributors that the study plans (n_plan).
        threshold: Opening shares needed (t).
        dropouts: Contributors that may be lost (d).
        colluders: Contributors whose noise may be known to the attacker (c).
        min_contributors: Least number of contributors of a sum.
    """

    planned_contributors: int
    threshold: int
    dropouts: int
    colluders: int
    min_contributors: int

    def __post_init__(self) -> None:
        require(self.planned_contributors >= 3, f"at least 3 nodes, got {self.planned_contributors}")
        require(self.dropouts >= 0, f"dropouts must be >= 0, got {self.dropouts}")
        require(self.colluders >= 0, f"colluders must be >= 0, got {self.colluders}")
        require(self.honest_contributors >= 2, "contributors less dropouts and colluders must be >= 2")

    @property
    def honest_contributors(self) -> int:
        """Contributors whose noise is sure to be in the sum: n_plan - d - c."""
        return self.planned_contributors - self.dropouts - self.colluders

    @property
    def least_set(self) -> int:
        """Smallest set of contributors that may be opened: max(n_plan - d, c + 2, min_contributors)."""
        return max(self.planned_contributors - self.dropouts, self.colluders + 2, self.min_contributors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a float vector becomes packed integers, as the plan fixes it.

    Attributes:
        grid: Step g of the integer grid, in the units of the values (> 0).
        limit: Clamp L of each coordinate of one node's rounded sum, in grid steps (>= 1).
        tail: Cut of the noise, floor(12 s_node), in grid steps (0 for a rehearsal).
        values: Coordinates in the vector.
        field_bits: Width w of one field, guard bit included.
        fields: Fields k packed in one coefficient.
        parameter_set: Name of the ring parameter set, ``plain`` for the reference scheme.
        noise_scale: s_node, the node's share of the noise in grid steps (0 for a rehearsal).
    """

    grid: float
    limit: int
    tail: int
    values: int
    field_bits: int
    fields: int
    parameter_set: str
    noise_scale: float

    def __post_init__(self) -> None:
        require(math.isfinite(self.grid) and self.grid > 0, f"grid must be finite and > 0, got {self.grid}")
        require(self.limit >= 1, f"limit must be >= 1, got {self.limit}")
        require(self.tail >= 0, f"tail must be >= 0, got {self.tail}")
        require(self.values >= 1, f"values must be >= 1, got {self.values}")
        require(1 <= self.field_bits <= 62, f"field_bits must be in 1..62, got {self.field_bits}")
        require(self.fields >= 1, f"fields must be >= 1, got {self.fields}")

    @property
    def offset(self) -> int:
        """What makes a node's field non-negative: limit + tail."""
        return self.limit + self.tail

    @property
    def coefficients(self) -> int:
        """Ring coefficients that the whole vector takes."""
        return -(-self.values // self.fields)


def check_fields(fields: WordArray, layout: Layout) -> None:
    """Refuse fields that do not belong to a layout; every scheme does so once, where it packs them.

    Args:
        fields: Shape (layout.values,), uint64, each below 2^(field_bits - 1): a larger one would run into
            its neighbour, and the sum would be wrong in silence.
        layout: The plan's layout.

    Raises:
        ConfigError: shape, type or range. No field is quoted: a field is a person's secret.
    """
    shape, bits = (layout.values,), layout.field_bits - 1
    require(fields.shape == shape, f"fields must have shape {shape}, got {fields.shape}")
    require(fields.dtype == np.uint64, f"fields must be uint64, got {fields.dtype}")
    fit = bool(np.all(fields < np.uint64(1 << bits)))
    require(fit, f"every field must be below 2**{bits} (field_bits less a guard bit)")


class FeatureKind(Enum):
    """How a column becomes model inputs."""

    NUMBER = "number"
    CATEGORY = "category"
    CODES = "codes"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """One column of the study's dataset with its public bounds or code list.

    Attributes:
        name: Column name.
        kind: ``number`` gives one input in [-1, 1] (0 when missing); ``category`` one 0/1 input for each
            of ``categories``; ``codes`` one 0/1 input for each of ``vocabulary_size`` codes.
        low: Public lower bound of a number, in the column's unit.
        high: Public upper bound of a number.
        log: Scale a number by log(1 + x - low) before mapping it to [-1, 1].
        categories: Values of a category, as text; any other value gives all zeros.
        vocabulary_size: Codes of a ``codes`` column are integers in [0, vocabulary_size).
    """

    name: str
    kind: FeatureKind
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    categories: tuple[str, ...] = ()
    vocabulary_size: int = 0

    def __post_init__(self) -> None:
        require(bool(self.name), "a feature needs a name")
        if self.kind is FeatureKind.NUMBER:
            bounded = math.isfinite(self.high - self.low) and self.low < self.high
            require(bounded, f"feature {self.name}: low must be < high, their difference finite")
        elif self.kind is FeatureKind.CATEGORY:
            require(len(set(self.categories)) == len(self.categories) > 0, f"feature {self.name}: categories")
        else:
            require(1 <= self.vocabulary_size <= 65_536, f"feature {self.name}: vocabulary_size in 1..65536")

    @property
    def inputs(self) -> int:
        """Model inputs that this feature gives."""
        return {
            FeatureKind.NUMBER: 1,
            FeatureKind.CATEGORY: len(self.categories),
            FeatureKind.CODES: self.vocabulary_size,
        }[self.kind]


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """The 0/1 outcome: a column that holds 0 and 1, or ``column >= at_least``.

    Attributes:
        column: Column name.
        at_least: Public threshold in the column's unit; None when the column already holds 0 and 1.
    """

    column: str
    at_least: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """What a study reads: the columns, their public bounds and the split.

    Attributes:
        name: Name of the dataset at every node, for instance ``person_year``.
        person: Column with the person's pseudonym; all rows of one value are one person.
        label: The outcome.
        features: In the order of the model's inputs; ``codes`` features last.
        held_out: Share of persons kept from training, chosen by a hash of the pseudonym (0 <= share < 1).
    """

    name: str
    person: str
    label: Label
    features: tuple[Feature, ...]
    held_out: float = 0.3

    def __post_init__(self) -> None:
        names = [f.name for f in self.features]
        require(len(names) > 0, "a dataset needs at least one feature")
        require(len(set(names)) == len(names), "feature names must differ")
        require(0 <= self.held_out < 1, f"held_out must be in [0, 1), got {self.held_out}")
        kinds = [f.kind is FeatureKind.CODES for f in self.features]
        require(kinds == sorted(kinds), "codes features come last")

    @property
    def inputs(self) -> int:
        """Width of the model's input."""
        return sum(f.inputs for f in self.features)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActPlace:
    """Where a node stands, as an act of its operators must name it (`fedmed.governance.operators`).

    Attributes:
        node: Its name in the roster.
        roster_digest: The roster that it pinned, 32 bytes.
        policy_digest: Its policy, 32 bytes.
        approvals_needed: Signatures that the policy asks for; 0 where it lists no operators.
        counter: Acts so far.
        head: Head of the chain of acts, 32 bytes; zeros before the first.
    """

    node: str
    roster_digest: bytes
    policy_digest: bytes
    approvals_needed: int
    counter: int
    head: bytes

    def __post_init__(self) -> None:
        for name in ("roster_digest", "policy_digest", "head"):
            require(len(getattr(self, name)) == DIGEST_BYTES, f"{name} must be {DIGEST_BYTES} bytes")
        require(self.counter >= 0, f"counter must be >= 0, got {self.counter}")
        require(self.approvals_needed >= 0, f"approvals_needed must be >= 0, got {self.approvals_needed}")
