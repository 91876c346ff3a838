"""A custodian inside a simulation: the same class, with stores in memory and a clock that stands still."""

from __future__ import annotations

import datetime

import pyarrow as pa

from fedmed.crypto.identity import Identity
from fedmed.data.feature_sets.derive import stated
from fedmed.governance.policy import Policy
from fedmed.messages import Roster
from fedmed_nodes.clock import FixedClock
from fedmed_nodes.custodian import Custodian, Effects, Settings
from fedmed_nodes.sources import TableSource
from fedmed_nodes.stores import MemorySecretStore, MemoryStore


def build_custodian(
    identity: Identity,
    roster: Roster,
    *,
    policy: Policy,
    dataset: tuple[str, pa.Table, int, str],
    now: datetime.datetime,
) -> Custodian:
    """Make a custodian that lives in this process and forgets everything at its end.

    Args:
        identity: The province's keys.
        roster: The pinned roster.
        policy: The province's policy.
        dataset: Name, rows, declared persons and person column of its one dataset.
        now: The time that it is told.
    """
    name, table, declared, person = dataset
    source = TableSource(
        table, declared_persons=declared, data_year=now.year, person=person, feature_set=stated(table)
    )
    settings = Settings(
        identity=identity, roster=roster, policy=policy, datasets={name: source}, response_tick_s=0.0
    )
    effects = Effects(store=MemoryStore(), secrets=MemorySecretStore(), clock=FixedClock(now))
    return Custodian(settings, effects)
