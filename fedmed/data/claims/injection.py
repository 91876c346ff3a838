"""Injects faults into what the generator makes, node by node, and counts them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from fedmed.data import synthetic_parameters as world
from fedmed.data.claims.edits import stacked
from fedmed.data.claims.faults import fault, inject
from fedmed.data.claims.generate import Batch, Part

_MONTH = "month of the window"
"""Carries each row's month through an injection; no table has a column with spaces."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Injected:
    """How often one fault was injected.

    Attributes:
        node: Node key.
        fault: Its name.
        table: The table that was changed.
        changed: Rows chosen.
        fits: Rows that the fault fits.
    """

    node: str
    fault: str
    table: str
    changed: int
    fits: int

    def plus(self, other: Injected) -> Injected:
        """The counts of both; the same node and fault."""
        return replace(self, changed=self.changed + other.changed, fits=self.fits + other.fits)


def spoiled(
    batch: Batch, faults: Sequence[str], *, rate: float, seed: int
) -> tuple[Batch, tuple[Injected, ...]]:
    """Inject faults into one batch.

    Args:
        batch: Clean.
        faults: Names; injected in this order, each into what the one before left.
        rate: Chance of each row that a fault fits, in (0, 1].
        seed: Of the run.

    Returns:
        The batch with the faults, and their counts by node.

    Guarantees:
        Equal arguments give equal rows; without faults the batch comes back as it was.

    Raises:
        ConfigError: a fault is unknown, or the rate outside its bounds.
    """
    if not faults:
        return batch, ()
    counts: list[Injected] = []
    parts: list[Part] = []
    for node in dict.fromkeys(part.node for part in batch.parts):
        tables = _joined([part for part in batch.parts if part.node == node])
        for name in faults:
            table = fault(name).table
            if table not in tables or "setl" not in tables:
                continue
            key = (world.WORLD_SEED, seed, *(zlib.crc32(t.encode()) for t in (batch.node, node, name)))
            rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence((*key, batch.number))))
            found = inject(rng, tables, name, rate=rate)
            tables[table] = found.rows
            counts.append(
                Injected(node=node, fault=name, table=table, changed=found.changed, fits=found.fits)
            )
        parts += [_part(node, name, rows) for name, rows in tables.items()]
    return replace(batch, parts=tuple(parts)), tuple(counts)


def _joined(parts: Sequence[Part]) -> dict[str, pa.Table]:
    """One table a name, with the months as a column where there are any."""
    found: dict[str, list[pa.Table]] = {}
    for part in parts:
        rows = part.rows
        if part.month is not None:
            rows = rows.append_column(_MONTH, pa.array(part.month))
        found.setdefault(part.table, []).append(rows)
    return {name: stacked(*tables) for name, tables in found.items()}


def _part(node: str, name: str, rows: pa.Table) -> Part:
    """The part that a table came from."""
    if _MONTH not in rows.schema.names:
        return Part(node=node, table=name, rows=rows)
    month = np.asarray(rows.column(_MONTH)).astype(np.int64)
    return Part(node=node, table=name, rows=rows.drop_columns([_MONTH]), month=month)
