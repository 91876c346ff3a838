"""A custodian with its operator's desk: what the socket offers, behind one turnstile."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence

from fedmed import wire
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed.socket_messages import (
    Budget,
    Catalogue,
    DatasetBudget,
    DatasetCard,
    StudyBudget,
    StudyStanding,
)
from fedmed.study import StudySpec, from_canonical_bytes
from fedmed_nodes.budget_desk import BudgetBook, read_book
from fedmed_nodes.custodian import Custodian, Settings
from fedmed_nodes.sources import RowSource
from fedmed_nodes.stores import CustodianStore
from fedmed_nodes.study_keys import INDEX, study_key


class Office:
    """Lets messages and the operator's acts to the custodian one at a time.

    The custodian excludes its messages from each other; an operator's act in the middle of one would put
    two entries on one place of the audit chain. So everything that writes goes through one lock here. What
    only reads does not wait for it: a contribution may take minutes.
    """

    def __init__(self, custodian: Custodian, settings: Settings, store: CustodianStore) -> None:
        self._custodian = custodian
        self._settings = settings
        self._store = store
        self._turn = threading.Lock()

    def answer(self, kind: PhaseKind, parts: Sequence[bytes]) -> Reply:
        """See `Custodian.answer`; the wait for the response tick counts to the turn."""
        with self._turn:
            return self._custodian.answer(kind, parts)

    def approve(self, study_digest: bytes) -> None:
        """The operator's yes to a study that waits; raises `StudyUnknown`, `StoreFailed`."""
        with self._turn:
            self._custodian.studies.approve(study_digest)

    def catalogue(self) -> Catalogue:
        """Registered datasets by their public facts."""
        settings = self._settings
        cards = [
            DatasetCard(name=name, declared_persons=s.declared_persons, data_year=s.data_year)
            for name, s in sorted(settings.datasets.items())
        ]
        return Catalogue(
            node=settings.identity.name,
            signing_key=settings.identity.public.signing_key,
            sealing_key=settings.identity.public.sealing_key,
            roster_digest=wire.roster_digest(settings.roster),
            datasets=tuple(cards),
        )

    def audit(self, last: int | None = None) -> tuple[bytes, ...]:
        """The audit chain, or its ``last`` entries, in the bytes that are signed."""
        return tuple(entry.to_bytes() for entry in self._store.audit(last))

    def budget(self) -> Budget:
        """What is reserved, spent and left; see `budget_of`."""
        settings = self._settings
        return budget_of(
            self._store, datasets=settings.datasets, cap_epsilon=settings.policy.max_epsilon_per_year
        )


def budget_of(store: CustodianStore, *, datasets: Mapping[str, RowSource], cap_epsilon: float) -> Budget:
    """Fold a store into the operator's view.

    Args:
        store: Read only.
        datasets: Registered datasets.
        cap_epsilon: The policy's cap for a data year.

    Returns:
        One line for each study ever proposed and each dataset. A dataset's committed epsilon composes what
        `StudyDesk` would hold against a next study (`BudgetBook.committed`).

    Raises:
        IntegrityError: the ledger was altered.
    """
    book = read_book(store)
    years = [
        DatasetBudget(
            name=name,
            data_year=source.data_year,
            cap_epsilon=cap_epsilon,
            committed_epsilon=book.committed(source),
        )
        for name, source in sorted(datasets.items())
    ]
    studies = [_study_budget(store, study, book=book) for study in json.loads(store.get(INDEX) or b"[]")]
    return Budget(studies=tuple(studies), datasets=tuple(years))


def _study_budget(store: CustodianStore, study: str, *, book: BudgetBook) -> StudyBudget:
    """One study's line."""
    digest, spec = bytes.fromhex(study), _spec(store, study)
    reserved = book.reservations.get(study)
    # A study without a reservation has no charges either; its own delta then only fills the line.
    delta = spec.privacy.delta if reserved is None else reserved.delta
    return StudyBudget(
        study_digest=digest,
        id=spec.id,
        title=spec.title,
        standing=_standing(store, digest, is_reserved=reserved is not None),
        reserved_epsilon=book.reserved(digest),
        spent_epsilon=book.spent(digest, delta),
        delta=delta,
    )


def _spec(store: CustodianStore, study: str) -> StudySpec:
    """The study as it was proposed."""
    proposal = wire.decode_proposal(store.get(study_key(bytes.fromhex(study), "proposal")) or b"")
    return from_canonical_bytes(proposal.canonical)


def _standing(store: CustodianStore, digest: bytes, *, is_reserved: bool) -> StudyStanding:
    """How far a study got."""
    if is_reserved:
        return StudyStanding.RESERVED
    approved = store.get(study_key(digest, "approved")) is not None
    return StudyStanding.APPROVED if approved else StudyStanding.WAITING
