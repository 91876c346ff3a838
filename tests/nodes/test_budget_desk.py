"""Reservations of studies whose rounds differ, and those that older versions wrote."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace

import pytest

from fedmed.errors import IntegrityError
from fedmed.privacy.accounting import epsilon
from fedmed.privacy.ledger_record import LedgerRecord, Mechanism
from fedmed.types import PrivacyEvent
from fedmed_nodes.budget_desk import RESERVATIONS, Reservation, read_book
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
