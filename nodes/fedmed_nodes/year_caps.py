"""The cap of a data year: what it was first served under, what policy.toml says now, and signed raises.

Threat model: a single person who may write policy.toml puts a higher number there and starts the custodian
again. So the cap that a year was first served under is kept in the store, in the batch that reserves its
first study; from then on a higher number in the file changes nothing, and only operators' signatures do
(`fedmed.governance.operators`). Like the budget, a cap belongs to the rows and to their year: neither
another alias nor another version of the same year's rows begins anew. Where no operators are listed, that
person can list one key and sign: then the raise stands in the log with a name, which an edited number does
not. Who can rewrite the store itself is its administrator, against whom nothing here protects.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from fedmed.errors import IntegrityError
from fedmed.governance.operators import SignedAct, cap_of
from fedmed_nodes.budget_desk import Rows

FIRST_CAPS: Final = "first-caps"
"""Store key of the caps that years were first served under."""


class CapBooks(Protocol):
    """Where caps are read: a store or a logbook."""

    def get(self, key: str) -> bytes | None:
        """Value of a key."""
        ...

    def acts(self) -> tuple[SignedAct, ...]:
        """All acts of operators."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstCap:
    """What the rows of a year were first served under.

    Attributes:
        data_year: Year that the rows describe.
        fingerprint: Digest of the rows.
        epsilon: The cap of that day.
    """

    data_year: int
    fingerprint: bytes
    epsilon: float

    def concerns(self, rows: Rows) -> bool:
        """Whether it binds a dataset: the same rows, or the same year."""
        return self.data_year == rows.data_year or self.fingerprint == rows.fingerprint


def first_caps(books: CapBooks) -> tuple[FirstCap, ...]:
    """Every cap that a year was first served under, in order.

    Raises:
        IntegrityError: the store's value was altered.
    """
    try:
        stored = json.loads(books.get(FIRST_CAPS) or b"[]")
        return tuple(
            FirstCap(data_year=int(year), fingerprint=bytes.fromhex(rows), epsilon=float(cap))
            for year, rows, cap in stored
        )
    except (ValueError, TypeError):
        raise IntegrityError(
            "the first caps in the store cannot be read: they were altered; restore the store"
        ) from None


def year_cap(books: CapBooks, rows: Rows, *, policy_cap: float) -> float:
    """Epsilon that all studies on a dataset's year may spend together.

    Args:
        books: What is remembered, and the operators' acts.
        rows: The dataset.
        policy_cap: ``max_epsilon_per_year`` of the policy in force.

    Guarantees:
        A policy above what the year was first served under counts no more than that; one below it holds at
        once. A raise that enough operators signed lifts either.
    """
    acts = [signed.act for signed in books.acts()]
    return cap_of(
        acts, (rows.fingerprint, rows.data_year), least=_unsigned(first_caps(books), rows, policy_cap)
    )


def puts_of_serving(books: CapBooks, rows: Rows, *, policy_cap: float) -> dict[str, bytes]:
    """What to store when a study on these rows is accepted; nothing where they were served before.

    Args:
        books: What is remembered.
        rows: The dataset.
        policy_cap: ``max_epsilon_per_year`` of the policy in force.
    """
    known = first_caps(books)
    if any((cap.data_year, cap.fingerprint) == (rows.data_year, rows.fingerprint) for cap in known):
        return {}
    first = FirstCap(
        data_year=rows.data_year,
        fingerprint=rows.fingerprint,
        epsilon=_unsigned(known, rows, policy_cap),
    )
    kept = [[cap.data_year, cap.fingerprint.hex(), cap.epsilon] for cap in (*known, first)]
    return {FIRST_CAPS: json.dumps(kept).encode()}


def _unsigned(known: Iterable[FirstCap], rows: Rows, policy_cap: float) -> float:
    """The cap without any raise."""
    return min([policy_cap, *(cap.epsilon for cap in known if cap.concerns(rows))])
