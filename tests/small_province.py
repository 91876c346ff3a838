"""One small province: its rows, study, keys, clock and store. `tests.federation` makes a federation of them.

Point 0 stands for the coordinator.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa

from fedmed.crypto.identity import Identity
from fedmed.governance.audit_chain import AuditEntry
from fedmed.governance.policy import Policy
from fedmed.messages import Member, Roster
from fedmed.privacy.ledger_record import LedgerRecord
from fedmed.privacy.noise import ByteSource
from fedmed.study import TrainingStudy, as_training, study_from_document
from fedmed.types import DatasetSpec, Scheme
from fedmed_nodes.custodian import Custodian, Effects, Settings
from fedmed_nodes.sources import RowSource, TableSource
from fedmed_nodes.stores import Batch, MemoryStore

NOW = datetime.datetime(2026, 3, 2, 9, 0, tzinfo=datetime.UTC)
COORDINATOR = 0
DATASET = "person_year"
DECLARED = 10
PERSONS = 6

# One privacy setting for all tests: calibrating another one takes seconds.
EPSILON, DELTA, AGGREGATIONS, SPARE_ATTEMPTS = 1.0, 1e-5, 3, 1

OPEN_POLICY = Policy(
    max_epsilon_per_study=EPSILON,
    max_epsilon_per_year=4 * EPSILON,
    schemes=frozenset(Scheme),
    min_cohort=1,
    allow_continue=True,
    research=True,
    auto_approve=True,
)


def insecure_no_noise() -> ByteSource:
    """Zero bytes make the sampler draw nothing but 0, so that opened sums are exact integers of the rows."""
    return bytes


class SetClock:
    """A clock that a test sets."""

    def __init__(self, at: datetime.datetime = NOW) -> None:
        self.at = at

    def now(self) -> datetime.datetime:
        return self.at

    def wait_for_tick(self, tick_s: float) -> None:
        pass


class CopyableStore(MemoryStore):
    """A store in memory that shows all it holds."""

    def values(self) -> dict[str, bytes]:
        return dict(self._values)

    def whole(self) -> Batch:
        """The batch that makes an empty store equal to this one."""
        return Batch(puts=self.values(), ledger=self.ledger(), audit=self.audit(), acts=self.acts())


class UnreadableSource:
    """A dataset that is registered and whose rows must not be read."""

    declared_persons = DECLARED
    data_year = NOW.year
    fingerprint = bytes(32)
    person = "psn_no"
    withheld = ""

    def __init__(self) -> None:
        self.reads = 0

    def training_examples(self, spec: DatasetSpec) -> Any:
        self.reads += 1
        raise AssertionError("a row was read")


def names(nodes: int) -> tuple[str, ...]:
    """Node keys in roster order."""
    return tuple(f"node{point}" for point in range(1, nodes + 1))


def small_study(nodes: int = 4, *, scheme: Scheme = Scheme.THRESHOLD, **changes: object) -> TrainingStudy:
    """A logistic model of two inputs; ``section__key=value`` changes one key of the study file."""
    document: dict[str, dict[str, object]] = {
        "study": {
            "id": "small",
            "title": "Small",
            "purpose": "academic_research",
            "owner": "tests",
            "expires": "2026-12-31",
        },
        "data": {
            "dataset": DATASET,
            "label": {"column": "sick"},
            "features": [
                {"name": "age", "kind": "number", "low": 0.0, "high": 100.0},
                {"name": "visits", "kind": "number", "low": 0.0, "high": 10.0},
            ],
            "held_out": 0.0,
            "min_cohort": 1,
            "declared_persons": dict.fromkeys(names(nodes), DECLARED),
        },
        "privacy": {"epsilon": EPSILON, "delta": DELTA, "clip_norm": 1.0},
        "aggregation": {"scheme": scheme.value, "clamp_persons": DECLARED},
        "training": {"aggregations": AGGREGATIONS, "spare_attempts": SPARE_ATTEMPTS},
    }
    for name, value in changes.items():
        section, _, key = name.partition("__")
        document.setdefault(section, {})[key] = value
    return as_training(study_from_document(document))


def small_table(point: int) -> pa.Table:
    """A few persons with one row each, different at every node."""
    return pa.table(
        {
            "psn_no": [f"p{point}-{i}" for i in range(PERSONS)],
            "age": [float((17 * i + 11 * point) % 100) for i in range(PERSONS)],
            "visits": [float((3 * i + point) % 11) for i in range(PERSONS)],
            "sick": [(i * point) % 2 for i in range(PERSONS)],
        }
    )


def small_source(point: int) -> TableSource:
    """The rows of `small_table` as a registered dataset."""
    return TableSource(small_table(point), declared_persons=DECLARED, data_year=NOW.year)


@functools.cache
def identity_of(point: int) -> Identity:
    """Keys of a node, or of the coordinator at point 0; the same in every test."""
    name = "coordinator" if point == COORDINATOR else f"node{point}"
    return Identity(name, signing_key=bytes([point + 1]) * 32, sealing_key=bytes([point + 101]) * 32)


def roster_of(nodes: int, *, threshold: int, colluders: int) -> Roster:
    """The roster of the first nodes."""

    def card(point: int) -> Member:
        public = identity_of(point).public
        return Member(name=public.name, signing_key=public.signing_key, sealing_key=public.sealing_key)

    return Roster(
        version=1,
        members=tuple(card(point) for point in range(1, nodes + 1)),
        threshold=threshold,
        colluders=colluders,
        coordinator=card(COORDINATOR),
    )


def no_check(*args: object, **kwargs: object) -> None:
    """Stands in for a check that was taken away."""


@dataclass(frozen=True, kw_only=True)
class Contents:
    """All that a custodian keeps, its audit chain aside."""

    values: Mapping[str, bytes]
    ledger: tuple[LedgerRecord, ...]
    secrets: Mapping[bytes, bytes | None]


@dataclass(kw_only=True)
class Node:
    """One province: what its operator set, its effects, and the custodian that runs on them."""

    settings: Settings
    effects: Effects
    custodian: Custodian = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """A new process on the same disk: memory is lost."""
        self.custodian = Custodian(self.settings, self.effects)

    def with_policy(self, policy: Policy) -> None:
        """The operator writes another policy; the custodian starts anew."""
        self.settings = replace(self.settings, policy=policy)
        self.restart()

    def with_source(self, source: RowSource) -> None:
        """The operator registers other rows; the custodian starts anew."""
        self.settings = replace(self.settings, datasets={DATASET: source})
        self.restart()

    @property
    def audit(self) -> tuple[AuditEntry, ...]:
        """The audit chain."""
        return self.effects.store.audit()

    def contents(self) -> Contents:
        """What is kept now; only for stores in memory."""
        store, secrets = self.effects.store, self.effects.secrets
        assert isinstance(store, CopyableStore)
        return Contents(
            values=store.values(),
            ledger=store.ledger(),
            secrets={epoch: secrets.get(epoch) for epoch in secrets.epochs()},
        )
