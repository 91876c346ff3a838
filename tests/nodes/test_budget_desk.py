"""Reservations of studies whose rounds differ, and those that older versions wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest

from fedmed.errors import BudgetExceeded, IntegrityError
from fedmed.privacy.accounting import epsilon
from fedmed.privacy.composition import year_epsilon
from fedmed.privacy.ledger_record import LedgerRecord, Mechanism
from fedmed.types import PrivacyEvent
from fedmed_nodes.budget_desk import RESERVATIONS, BudgetBook, Reservation, check_budget, read_book
from tests.ledger_record import RECORD

TRAINING, EVALUATION = (
    PrivacyEvent(noise_multiplier=20.0, count=5),
    PrivacyEvent(noise_multiplier=8.0, count=2),
)
STUDY = RECORD.study_digest.hex()


@dataclass
class Books:
    """What a store says."""

    reservations: object
    charges: tuple[LedgerRecord, ...] = ()
    asked: list[str] = field(default_factory=list)

    def get(self, key: str) -> bytes | None:
        self.asked.append(key)
        return json.dumps(self.reservations).encode() if key == RESERVATIONS else None

    def ledger(self) -> tuple[LedgerRecord, ...]:
        return self.charges


def reservation(*planned: PrivacyEvent) -> Reservation:
    return Reservation(
        planned=planned,
        delta=1e-6,
        data_year=RECORD.data_year,
        fingerprint=RECORD.dataset_fingerprint,
    )


def test_a_reservation_of_several_stages_is_read_as_it_was_written() -> None:
    for planned in ((TRAINING, EVALUATION), (TRAINING,), ()):
        book = read_book(Books({})).with_study(RECORD.study_digest, reservation(*planned))
        again = read_book(Books(json.loads(book.to_bytes())))
        assert again.reservations == {STUDY: reservation(*planned)}
        assert again.reserved(RECORD.study_digest) == epsilon(planned, 1e-6)


@pytest.mark.parametrize(
    "older",
    [
        [20.0, 5, 1e-6],
        {"noise_multiplier": 20.0, "releases": 5, "delta": 1e-6, "data_year": 2025, "fingerprint": "01" * 32},
    ],
)
def test_reservations_of_older_versions_keep_their_meaning(older: object) -> None:
    book = read_book(Books({STUDY: older}))
    assert book.reservations[STUDY].planned == (TRAINING,)


@pytest.mark.parametrize("planned", [3, [[20.0]], [[0.0, 5]], [[20.0, 0]], [["x", 5]]])
def test_a_reservation_that_cannot_be_is_an_alteration(planned: object) -> None:
    fields = {"planned": planned, "delta": 1e-6, "data_year": 2025, "fingerprint": "01" * 32}
    with pytest.raises(IntegrityError):
        read_book(Books({STUDY: fields}))


def test_what_is_spent_stays_reserved_by_its_own_noise_and_exact_sums_cost_nothing() -> None:
    other = replace(RECORD, noise_multiplier=8.0, round_number=6)
    exact = replace(RECORD, mechanism=Mechanism.EXACT_SUM, noise_multiplier=0.0, round_number=7)
    book = read_book(Books({}, (RECORD, other, exact)))
    book = book.with_study(RECORD.study_digest, reservation(TRAINING, EVALUATION))
    left = book.without_unspent(RECORD.study_digest).reservations[STUDY]
    assert left.planned == (PrivacyEvent(noise_multiplier=23.59), PrivacyEvent(noise_multiplier=8.0))


def test_a_reservation_of_sampled_steps_keeps_its_rate() -> None:
    steps = PrivacyEvent(noise_multiplier=2.0, sample_rate=0.1, count=40)
    book = read_book(Books({})).with_study(RECORD.study_digest, reservation(steps, EVALUATION))
    again = read_book(Books(json.loads(book.to_bytes())))
    assert again.reservations[STUDY].planned == (steps, EVALUATION)


@dataclass(frozen=True)
class Rows:
    """What a budget belongs to."""

    fingerprint: bytes = RECORD.dataset_fingerprint
    data_year: int = RECORD.data_year


def year_of(count: int, event: PrivacyEvent) -> BudgetBook:
    """A book with that many studies of one stage."""
    book = read_book(Books({}))
    for number in range(count):
        book = book.with_study(bytes([number]) * 32, reservation(event))
    return book


def test_studies_with_sampled_batches_are_taken_to_be_chosen_after_earlier_results() -> None:
    steps = PrivacyEvent(noise_multiplier=6.0, sample_rate=0.2, count=17)
    plan = [replace(steps, count=17 * 10)]
    assert epsilon(plan, 1e-6) <= 2.0, "fixed in advance they would fit"
    committed = year_of(10, steps).committed(Rows(), cap=2.0)
    assert committed == year_epsilon(plan, 1e-6, cap=2.0, studies=10) > 2.0
    with pytest.raises(BudgetExceeded, match="budget is 2"):
        check_budget(committed, 2.0)


def test_one_study_and_full_batches_hold_what_their_plan_costs() -> None:
    steps = PrivacyEvent(noise_multiplier=6.0, sample_rate=0.2, count=17)
    assert year_of(1, steps).committed(Rows(), cap=2.0) == epsilon([steps], 1e-6)
    twice = replace(TRAINING, count=10)
    assert year_of(2, TRAINING).committed(Rows(), cap=2.0) == epsilon([twice], 1e-6)


def test_charges_of_studies_without_a_reservation_count_as_studies_of_their_own() -> None:
    steps = replace(
        RECORD,
        mechanism=Mechanism.LOCAL_GAUSSIAN_STEPS,
        noise_multiplier=6.0,
        sample_rate=0.2,
        releases=17,
    )
    charges = tuple(replace(steps, study_digest=bytes([number]) * 32) for number in range(3))
    book = read_book(Books({}, charges))
    plan = [PrivacyEvent(noise_multiplier=6.0, sample_rate=0.2, count=51)]
    held = year_epsilon(plan, book.delta, cap=2.0, studies=3)
    assert book.committed(Rows(), cap=2.0) == book.spent_on(Rows(), cap=2.0) == held


def test_a_charge_counts_on_its_rows_where_its_reservation_went_to_newer_rows() -> None:
    """Guarantee of `BudgetBook`: the old rows under another year hold what was spent on them."""
    newer = replace(reservation(TRAINING), fingerprint=b"\x63" * 32)
    book = read_book(Books({}, (RECORD,))).with_study(RECORD.study_digest, newer)
    old = Rows(data_year=RECORD.data_year + 1)
    assert book.committed(old, cap=2.0) == book.spent_on(old, cap=2.0) > 0
    for paid in (Rows(), Rows(fingerprint=newer.fingerprint)):
        assert book.committed(paid, cap=2.0) == epsilon([TRAINING], 1e-6)
