"""What a node's budget holds: reservations of approved studies, charges of the ledger, and what is left.

Threat model: a coordinator proposes many studies, or one study again and again, to spend more of a person's
privacy than the data holder allows; it may also wait until an operator registers the dataset under another
name. So a budget belongs to the rows (their fingerprint) and to the year that they describe, never to an
alias: all datasets of one year hold the same persons as far as anybody here can prove. What is not known
counts as spent.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Protocol

from fedmed.errors import BudgetExceeded, ConfigError, IntegrityError
from fedmed.privacy.accounting import epsilon
from fedmed.privacy.composition import year_epsilon
from fedmed.privacy.ledger_record import LedgerRecord, events
from fedmed.protocol.schedule import Schedule
from fedmed.types import PrivacyEvent

RESERVATIONS: Final = "reservations"
"""Store key of all reservations."""
BUDGET_DIGITS: Final = 1e-9


class Books(Protocol):
    """Where a budget is read: a store or a logbook."""

    def get(self, key: str) -> bytes | None:
        """Value of a key."""
        ...

    def ledger(self) -> tuple[LedgerRecord, ...]:
        """All charges."""
        ...


class Rows(Protocol):
    """What a budget belongs to; a `fedmed_nodes.sources.RowSource` says both."""

    @property
    def fingerprint(self) -> bytes:
        """Digest of the dataset version."""
        ...

    @property
    def data_year(self) -> int:
        """Year that the rows describe."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """What an approved study may spend.

    Attributes:
        planned: Releases that there may be, one event for each noise; none where sums are exact.
        delta: At which epsilon is counted.
        data_year: Year of the rows that it is reserved on; None for reservations from before years were
            written down, which count against every year.
        fingerprint: Digest of those rows; empty where the year is None.
    """

    planned: tuple[PrivacyEvent, ...]
    delta: float
    data_year: int | None
    fingerprint: bytes

    def is_for_year(self, year: int) -> bool:
        """Whether it pays for charges on rows of a year."""
        return self.data_year in (None, year)

    def concerns(self, rows: Rows) -> bool:
        """Whether it counts against a dataset: the same rows, the same year, or nobody knows."""
        return self.is_for_year(rows.data_year) or self.fingerprint == rows.fingerprint


def reservation_for(schedule: Schedule, rows: Rows) -> Reservation:
    """What a worked-out study reserves on a dataset."""
    return Reservation(
        planned=schedule.planned_events,
        delta=schedule.accounted_delta,
        data_year=rows.data_year,
        fingerprint=rows.fingerprint,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetBook:
    """Reservations and charges at one moment; pure, so that what would be can be worked out as well.

    Attributes:
        reservations: By study, its digest in hexadecimal.
        charges: The whole ledger.

    Guarantees:
        A charge without a reservation for its study and year counts by itself; one with it is paid by the
        reservation, where that counts against the same dataset: nothing counts twice and nothing is left out.
    """

    reservations: Mapping[str, Reservation]
    charges: tuple[LedgerRecord, ...]

    def with_study(self, study: bytes, reservation: Reservation) -> BudgetBook:
        """The book with one study's reservation put in or replaced."""
        return replace(self, reservations={**self.reservations, study.hex(): reservation})

    def without_unspent(self, study: bytes) -> BudgetBook:
        """The book after a study that is answered no more: its reservation covers its charges only."""
        kept = {name: r for name, r in self.reservations.items() if name != study.hex()}
        reserved = self.reservations.get(study.hex())
        spent = events(
            record
            for record in self.charges
            if record.study_digest == study
            and reserved is not None
            and reserved.is_for_year(record.data_year)
        )
        if reserved is not None and spent:
            kept[study.hex()] = replace(reserved, planned=spent)
        return replace(self, reservations=kept)

    def holds(self, study: bytes, rows: Rows) -> bool:
        """Whether a study has a reservation on rows of this year."""
        reserved = self.reservations.get(study.hex())
        return reserved is not None and reserved.is_for_year(rows.data_year)

    def reserved(self, study: bytes) -> float:
        """Epsilon of a study's whole reservation; 0 without one."""
        reserved = self.reservations.get(study.hex())
        return 0.0 if reserved is None else epsilon(reserved.planned, reserved.delta)

    def spent(self, study: bytes, delta: float) -> float:
        """Epsilon of a study's charges at ``delta``."""
        return epsilon(events(r for r in self.charges if r.study_digest == study), delta)

    def spent_on(self, rows: Rows, *, cap: float) -> float:
        """What all charges that count against a dataset hold of its cap, as `committed` counts it."""
        charged = [r for r in self.charges if _concerns(r, rows)]
        studies = {r.study_digest for r in charged if r.event is not None}
        return year_epsilon(events(charged), self.delta, cap=cap, studies=len(studies))

    def committed(self, rows: Rows, *, cap: float) -> float:
        """What everything reserved or charged that counts against a dataset holds of its cap.

        Guarantees:
            Studies are taken to be chosen after the results of earlier ones (`year_epsilon`): while this is
            at most ``cap``, so is what a person loses in the year.
        """
        reserved = {name: r for name, r in self.reservations.items() if r.planned and r.concerns(rows)}
        planned = [event for r in reserved.values() for event in r.planned]
        unpaid = [r for r in self.charges if _concerns(r, rows) and not self._is_paid(r, rows)]
        studies = reserved.keys() | {r.study_digest.hex() for r in unpaid if r.event is not None}
        return year_epsilon([*planned, *events(unpaid)], self.delta, cap=cap, studies=len(studies))

    @property
    def delta(self) -> float:
        """The least delta of all reservations: a smaller delta never makes epsilon smaller."""
        return min((r.delta for r in self.reservations.values() if r.planned), default=_DELTA_OF_NOTHING)

    def to_bytes(self) -> bytes:
        """The reservations as the store keeps them."""
        return json.dumps({name: _fields(r) for name, r in self.reservations.items()}).encode()

    def _is_paid(self, record: LedgerRecord, rows: Rows) -> bool:
        """Whether a reservation that counts against a dataset covers a charge."""
        reserved = self.reservations.get(record.study_digest.hex())
        return reserved is not None and reserved.is_for_year(record.data_year) and reserved.concerns(rows)


_DELTA_OF_NOTHING: Final = 1e-6
"""For charges whose reservations are gone; PRIVACY.md counts at 1e-5 or less."""


def read_book(books: Books) -> BudgetBook:
    """Read the budget of a node.

    Raises:
        IntegrityError: ledger or reservations were altered.
    """
    stored: dict[str, object] = json.loads(books.get(RESERVATIONS) or b"{}")
    reservations = {name: _reservation(value) for name, value in stored.items()}
    return BudgetBook(reservations=reservations, charges=books.ledger())


def check_budget(total: float, cap: float) -> None:
    """Everything reserved and charged, the new study included, fits the cap."""
    if total > cap + BUDGET_DIGITS:
        raise BudgetExceeded(
            f"max_epsilon_per_year: this data year's budget is {cap:g}; with this study it would be "
            f"{total:.3f}: lower epsilon, or let the data holder sign a raise (fedmed node budget raise); a "
            "number in policy.toml above the one that the year was first served under counts for nothing"
        )


def _concerns(record: LedgerRecord, rows: Rows) -> bool:
    """Whether a charge is one on this dataset version or data year."""
    return record.dataset_fingerprint == rows.fingerprint or record.data_year == rows.data_year


def _fields(r: Reservation) -> dict[str, object]:
    """One reservation as JSON."""
    return {
        "planned": [_planned(event) for event in r.planned],
        "delta": r.delta,
        "data_year": r.data_year,
        "fingerprint": r.fingerprint.hex(),
    }


def _planned(event: PrivacyEvent) -> list[float]:
    """A planned event as JSON: noise and count, and the sample rate where batches are not full."""
    full = [event.noise_multiplier, event.count]
    return full if event.sample_rate == 1 else [*full, event.sample_rate]


def _event(noise: float, count: int, rate: float = 1.0) -> PrivacyEvent:
    """A planned event from JSON."""
    return PrivacyEvent(noise_multiplier=float(noise), count=int(count), sample_rate=float(rate))


def _reservation(stored: object) -> Reservation:
    """One reservation from JSON: a table, or the list of three numbers that was written before years were."""
    try:
        if isinstance(stored, list):
            noise, releases, delta = stored
            return _checked([[noise, releases]], delta, year=None, fingerprint="")
        if isinstance(stored, dict):
            year, fingerprint = stored["data_year"], stored["fingerprint"]
            planned = stored["planned"] if "planned" in stored else _before_stages(stored)
            return _checked(planned, stored["delta"], year=year, fingerprint=fingerprint)
    except (ValueError, TypeError, KeyError, ConfigError):
        pass
    raise IntegrityError("a reservation in the store cannot be read: it was altered; restore the store")


def _before_stages(stored: Mapping[str, object]) -> list[list[object]]:
    """The one kind of release of an older table."""
    return [[stored["noise_multiplier"], stored["releases"]]]


def _checked(planned: object, delta: float, *, year: int | None, fingerprint: str) -> Reservation:
    """A reservation whose numbers can be."""
    if not (isinstance(planned, list) and 0 < delta < 1):
        raise ValueError("impossible numbers")
    return Reservation(
        planned=tuple(_event(*numbers) for numbers in planned),
        delta=delta,
        data_year=year,
        fingerprint=bytes.fromhex(fingerprint),
    )
