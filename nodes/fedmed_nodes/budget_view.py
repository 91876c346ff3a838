"""The budget as the operator sees it: spent, reserved and left, by study and year, and every raise."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from fedmed import wire
from fedmed.governance.operators import ActKind, OperatorAct, signers
from fedmed.socket_messages import Budget, BudgetRaise, DatasetBudget, StudyBudget, StudyStanding
from fedmed.study import LARGEST_DELTA, StudySpec, from_canonical_bytes
from fedmed.types import ActPlace
from fedmed_nodes.budget_desk import BudgetBook, Rows, read_book
from fedmed_nodes.stores import CustodianStore
from fedmed_nodes.study_keys import INDEX, RESTORED, known_studies, study_key
from fedmed_nodes.year_caps import year_cap


class Values(Protocol):
    """What values are read from: a store, or the logbook on it."""

    def get(self, key: str) -> bytes | None:
        """Return the value of ``key``, None if there is none."""
        ...


def budget_of(
    store: CustodianStore,
    *,
    datasets: Mapping[str, Rows],
    cap_epsilon: float,
    place: ActPlace,
    has_lapsed: Callable[[bytes], bool],
) -> Budget:
    """Fold a store into the operator's view.

    Args:
        store: Read only.
        datasets: Registered datasets by name.
        cap_epsilon: The policy's cap for a data year, without raises.
        place: Where the node stands.
        has_lapsed: Whether a study's approval does not hold under the policy of now.

    Returns:
        One line for each study ever proposed and each dataset. A dataset's committed epsilon composes what
        `StudyDesk` would hold against a next study (`BudgetBook.committed`).

    Raises:
        IntegrityError: ledger, acts or reservations were altered.
    """
    book, acts = read_book(store), [signed.act for signed in store.acts()]
    caps = {name: year_cap(store, rows, policy_cap=cap_epsilon) for name, rows in datasets.items()}
    years = [
        DatasetBudget(
            name=name,
            data_year=rows.data_year,
            cap_epsilon=caps[name],
            committed_epsilon=book.committed(rows, cap=caps[name]),
            spent_epsilon=book.spent_on(rows, cap=caps[name]),
            fingerprint=rows.fingerprint,
        )
        for name, rows in sorted(datasets.items())
    ]
    known = map(bytes.fromhex, known_studies(store.get(INDEX)))
    studies = [
        _study_budget(
            store,
            study,
            book=book,
            datasets=datasets,
            standing=standing_of(
                store,
                study,
                is_reserved=study.hex() in book.reservations,
                has_lapsed=has_lapsed(study),
            ),
        )
        for study in known
    ]
    raises = _raises(act for act in acts if act.kind is ActKind.RAISE)
    restored = (store.get(RESTORED) or b"").decode()
    return Budget(
        studies=tuple(studies), datasets=tuple(years), raises=raises, place=place, restored=restored
    )


def proposed_bytes(store: Values, study: bytes) -> bytes:
    """Canonical bytes of a study as it was last proposed."""
    return wire.decode_proposal(store.get(study_key(study, "proposal")) or b"").canonical


def standing_of(store: CustodianStore, study: bytes, *, is_reserved: bool, has_lapsed: bool) -> StudyStanding:
    """How far a study got; one whose approval does not hold any more waits, whatever is reserved for it."""
    if store.get(study_key(study, "revoked")) is not None:
        return StudyStanding.REVOKED
    if has_lapsed:
        return StudyStanding.WAITING
    if is_reserved:
        return StudyStanding.RESERVED
    approved = store.get(study_key(study, "approved")) is not None
    return StudyStanding.APPROVED if approved else StudyStanding.WAITING


def _study_budget(
    store: CustodianStore,
    study: bytes,
    *,
    book: BudgetBook,
    datasets: Mapping[str, Rows],
    standing: StudyStanding,
) -> StudyBudget:
    """One study's line."""
    spec = from_canonical_bytes(proposed_bytes(store, study))
    reserved = book.reservations.get(study.hex())
    # A study without a reservation has no charges either; its own delta then only fills the line.
    delta = min(spec.privacy.delta, LARGEST_DELTA) if reserved is None else reserved.delta
    return StudyBudget(
        study_digest=study,
        id=spec.id,
        title=spec.title,
        standing=standing,
        reserved_epsilon=book.reserved(study),
        spent_epsilon=book.spent(study, delta),
        delta=delta,
        dataset=spec.data.dataset,
        data_year=_year(spec, book, study, datasets),
    )


def _year(spec: StudySpec, book: BudgetBook, study: bytes, datasets: Mapping[str, Rows]) -> int:
    """The year whose budget a study uses, 0 where nobody knows."""
    reserved = book.reservations.get(study.hex())
    if reserved is not None and reserved.data_year is not None:
        return reserved.data_year
    rows = datasets.get(spec.data.dataset)
    return 0 if rows is None else rows.data_year


def _raises(acts: Iterable[OperatorAct]) -> tuple[BudgetRaise, ...]:
    """Raises, those that still lack signatures among them."""
    ordered = list(acts)
    first = {act.subject: act for act in reversed(ordered)}
    subjects = dict.fromkeys(act.subject for act in ordered)
    return tuple(_raise(first[subject], ordered) for subject in subjects)


def _raise(act: OperatorAct, acts: list[OperatorAct]) -> BudgetRaise:
    """One raise with everybody who signed it."""
    return BudgetRaise(
        fingerprint=act.dataset_fingerprint,
        data_year=act.data_year,
        cap_epsilon=act.cap_epsilon,
        signed_by=signers(acts, act),
        needed=act.approvals_needed,
        reason=act.reason,
        signed_at=[other.signed_at for other in acts if other.subject == act.subject][-1],
    )
