"""What a node's privacy ledger says: one record for each attempt that was charged, and folds over them.

The store that keeps the records is append-only (`fedmed_nodes.stores`); a record is on disk before a row is
read and is never taken back (PRIVACY.md section 4). Epsilon is computed in `fedmed.privacy.accounting`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, fields
from enum import Enum
from typing import Final

from fedmed.errors import ConfigError, IntegrityError
from fedmed.privacy.record_format import read_record, record_bytes, require_time
from fedmed.types import DIGEST_BYTES, Allowance, PrivacyEvent, require

FORMAT: Final = "fedmed/ledger/1"
LOCAL_FORMAT: Final = "fedmed/ledger/2"
"""Of `Mechanism.LOCAL_GAUSSIAN_STEPS`: a reader that does not know it must not count such a record as one
release on a full batch."""


class Mechanism(Enum):
    """What was released; closed, because the accounting must know each one.

    An exact sum costs no epsilon and is protected by none: it stands in the ledger so that it is counted.
    Local steps are several sums, each on a Poisson sample of its own, with all of the noise from this node.
    """

    DISCRETE_GAUSSIAN_SUM = "discrete_gaussian_sum"
    EXACT_SUM = "exact_sum"
    LOCAL_GAUSSIAN_STEPS = "local_gaussian_steps"


class Unit(Enum):
    """Who is protected; closed for the same reason."""

    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRecord:
    """One attempt at one round, charged whole whether or not it was opened.

    Attributes:
        dataset_fingerprint: Digest of the dataset version whose rows are read, 32 bytes.
        data_year: Year that the data describe; delta is fixed for it.
        unit: Who is protected.
        study_digest: Digest of the study, 32 bytes.
        round_number: From 1.
        attempt: From 1.
        plan_digest: Digest of the signed plan, 32 bytes; it names the release.
        mechanism: What is released.
        noise_multiplier: Of the noise that is sure to be in the sum under the study's allowance
            (dimensionless, > 0; 0 for an exact sum).
        clip_norm: Bound C of one person's vector (> 0).
        grid: Step g of the integer grid, in the units of C (> 0).
        max_nodes_per_person: Nodes at which a person may appear (k >= 1).
        planned_contributors: Contributors that the study plans.
        dropouts: Contributors that may be lost.
        colluders: Contributors whose noise may be known to the attacker.
        sample_rate: Chance that one person is in the batch; 1.0 = full batch.
        releases: Sums that the one attempt is charged for; 1 except for local steps.
        recorded_at: ISO 8601 time with offset, given by the caller.
    """

    dataset_fingerprint: bytes
    data_year: int
    unit: Unit = Unit.PERSON
    study_digest: bytes
    round_number: int
    attempt: int
    plan_digest: bytes
    mechanism: Mechanism = Mechanism.DISCRETE_GAUSSIAN_SUM
    noise_multiplier: float
    clip_norm: float
    grid: float
    max_nodes_per_person: int
    planned_contributors: int
    dropouts: int
    colluders: int
    sample_rate: float = 1.0
    releases: int = 1
    recorded_at: str

    def __post_init__(self) -> None:
        for name in _DIGESTS:
            value = getattr(self, name)
            require(isinstance(value, bytes) and len(value) == DIGEST_BYTES, f"{name} must be 32 bytes")
        for name in ("clip_norm", "grid"):
            value = getattr(self, name)
            require(math.isfinite(value) and value > 0, f"{name} must be finite and > 0, got {value}")
        for name in ("round_number", "attempt", "max_nodes_per_person"):
            require(getattr(self, name) >= 1, f"{name} must be >= 1, got {getattr(self, name)}")
        require(1900 <= self.data_year <= 9999, f"data_year must be in 1900..9999, got {self.data_year}")
        require_time("recorded_at", self.recorded_at)
        Allowance(  # checks n_plan, d and c against each other
            planned_contributors=self.planned_contributors,
            threshold=1,
            dropouts=self.dropouts,
            colluders=self.colluders,
            min_contributors=1,
        )
        if self.mechanism is Mechanism.EXACT_SUM:
            require(self.noise_multiplier == 0, f"an exact sum has no noise, got {self.noise_multiplier}")
        if self.mechanism is not Mechanism.LOCAL_GAUSSIAN_STEPS:
            once = (self.releases, self.sample_rate) == (1, 1.0) or self.mechanism is not Mechanism.EXACT_SUM
            require(self.releases == 1 and once, f"only local steps are several, got {self.releases}")
        _ = self.event  # checks noise_multiplier, sample_rate and releases

    @property
    def event(self) -> PrivacyEvent | None:
        """What the accounting composes: this attempt's releases; None for an exact sum."""
        if self.mechanism is Mechanism.EXACT_SUM:
            return None
        return PrivacyEvent(
            noise_multiplier=self.noise_multiplier, sample_rate=self.sample_rate, count=self.releases
        )

    def to_bytes(self) -> bytes:
        """Write the record in its one canonical form."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in _DIGESTS:
            values[name] = values[name].hex()
        for name in _REALS:  # a whole number given for a real one has one spelling as well
            values[name] = float(values[name])
        values |= {"unit": self.unit.value, "mechanism": self.mechanism.value}
        if self.mechanism is Mechanism.LOCAL_GAUSSIAN_STEPS:
            return record_bytes(LOCAL_FORMAT, values)
        del values["releases"]  # records of one release keep the form that they always had
        return record_bytes(FORMAT, values)

    @classmethod
    def from_bytes(cls, data: bytes) -> LedgerRecord:
        """Read what `to_bytes` wrote, byte for byte.

        Raises:
            UnknownVersion: the format is another one.
            IntegrityError: a field is unknown, missing or impossible, or the form is not the canonical one.
        """
        is_local = data.startswith(_LOCAL_START)
        values = (
            read_record(LOCAL_FORMAT, data, fields=_STORED_LOCAL)
            if is_local
            else read_record(FORMAT, data, fields=_STORED)
        )
        try:
            for name in _DIGESTS:
                values[name] = bytes.fromhex(values[name])
            values["unit"], values["mechanism"] = Unit(values["unit"]), Mechanism(values["mechanism"])
            record = cls(**values)
        except (ValueError, ConfigError):
            raise IntegrityError("ledger record has a value that cannot be: its bytes were altered") from None
        if record.to_bytes() != data:
            raise IntegrityError("ledger record is not in canonical form: its bytes were altered")
        return record


_DIGESTS: Final = ("dataset_fingerprint", "study_digest", "plan_digest")
_REALS: Final = ("noise_multiplier", "clip_norm", "grid", "sample_rate")
_WHOLES: Final = (
    "data_year",
    "round_number",
    "attempt",
    "max_nodes_per_person",
    "planned_contributors",
    "dropouts",
    "colluders",
    "releases",
)
_STORED_LOCAL: Final = (
    {field.name: str for field in fields(LedgerRecord)}
    | dict.fromkeys(_REALS, float)
    | dict.fromkeys(_WHOLES, int)
)
_STORED: Final = {name: kind for name, kind in _STORED_LOCAL.items() if name != "releases"}
_LOCAL_START: Final = f'{{"format":"{LOCAL_FORMAT}",'.encode()


def events(records: Iterable[LedgerRecord]) -> tuple[PrivacyEvent, ...]:
    """Fold records into what the accounting composes.

    Args:
        records: All records that touch the same persons; a corrected version of a year's table holds the
            same persons as the version before.

    Returns:
        One event for each pair of noise multiplier and sample rate, with its count, in the order in which
        the pairs first occur.

    Guarantees:
        The counts add up to the releases of all records with noise: nothing is merged away, a doubled
        record counts twice; exact sums cost no epsilon.
    """
    counts: dict[tuple[float, float], int] = {}
    for record in records:
        if record.event is None:
            continue
        pair = (record.noise_multiplier, record.sample_rate)
        counts[pair] = counts.get(pair, 0) + record.releases
    return tuple(
        PrivacyEvent(noise_multiplier=noise, sample_rate=rate, count=count)
        for (noise, rate), count in counts.items()
    )
