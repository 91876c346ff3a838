"""What one run leaves behind: a row an arm, and its place in a table."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any

import pyarrow as pa

from fedmed.errors import UnknownVersion
from fedmed.types import PrivacyEvent

VERSION = 1
VERSION_KEY = b"fedmed.frontier"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One arm of one run.

    Attributes:
        arm: ``federated``, or a baseline: ``central``, ``alone_private``, ``pooled``, ``alone``.
        mode: Of a federated run; empty for a baseline.
        scheme: Of a federated run; empty for a baseline.
        epsilon: Planned epsilon; None without privacy.
        delta: Planned delta; None without privacy.
        nodes: Provinces.
        people: Insured persons in all.
        clip_norm: Bound of one person's gradient; None where nothing is clipped.
        aggregations: Training rounds; None where there are none.
        seed: Of the rows.
        auc: Unweighted mean over provinces.
        worst_auc: Least AUC of a province.
        average_precision: Mean over provinces; None where no province has both classes.
        expected_over_observed: Mean over provinces; None where unknown.
        fallback_epsilon: Planned epsilon if all other provinces collude; None but for federated runs.
        events: Planned releases as JSON, ``[[noise_multiplier, sample_rate, count], ...]``.
        layout: Runs with equal layouts move equal bytes; empty for a baseline.
        is_encrypted: Whether the secure sums really ran under encryption.
        size_bytes: Bytes of the whole study, both ways; None where they were not measured in this run.
        seconds: Of the federated part; None where they were not measured in this run.
    """

    arm: str
    mode: str
    scheme: str
    epsilon: float | None
    delta: float | None
    nodes: int
    people: int
    clip_norm: float | None
    aggregations: int | None
    seed: int
    auc: float
    worst_auc: float
    average_precision: float | None
    expected_over_observed: float | None
    fallback_epsilon: float | None
    events: str
    layout: str
    is_encrypted: bool
    size_bytes: int | None
    seconds: float | None


_TYPES = {
    "str": pa.string(),
    "int": pa.int64(),
    "float": pa.float64(),
    "bool": pa.bool_(),
}
SCHEMA = pa.schema(
    [
        pa.field(f.name, _TYPES[str(f.type).removesuffix(" | None")], nullable=str(f.type).endswith("None"))
        for f in fields(Row)
    ],
    metadata={VERSION_KEY: str(VERSION).encode()},
)


def rows_table(rows: Iterable[Row]) -> pa.Table:
    """Rows as a table with the columns of `SCHEMA`."""
    return pa.Table.from_pylist([{f: getattr(row, f) for f in SCHEMA.names} for row in rows], schema=SCHEMA)


def rows_from(table: pa.Table) -> tuple[Row, ...]:
    """The rows of a table.

    Raises:
        UnknownVersion: the table is of another version, or no table of a frontier.
    """
    version = (table.schema.metadata or {}).get(VERSION_KEY)
    if version != str(VERSION).encode() or table.schema.names != SCHEMA.names:
        raise UnknownVersion(f"these rows are not a frontier's of version {VERSION}; start anew with --fresh")
    return tuple(Row(**record) for record in table.to_pylist())


def written_events(events: Iterable[PrivacyEvent]) -> str:
    """Releases as text for `Row.events`."""
    return json.dumps([[e.noise_multiplier, e.sample_rate, e.count] for e in events])


def read_events(text: str) -> tuple[PrivacyEvent, ...]:
    """Releases from `Row.events`."""
    entries: list[list[Any]] = json.loads(text)  # Any: JSON mixes whole numbers and others
    return tuple(PrivacyEvent(noise_multiplier=n, sample_rate=q, count=c) for n, q, c in entries)
