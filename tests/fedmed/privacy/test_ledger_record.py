"""The ledger's records: one spelling, impossible ones refused, and folds that lose nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError, IntegrityError, UnknownVersion
from fedmed.privacy.ledger_record import (
    LedgerRecord,
    Mechanism,
    Unit,
    events,
)
from fedmed.types import PrivacyEvent
from tests.examples import at_most
from tests.ledger_record import RECORD

digests = st.binary(min_size=32, max_size=32)
positive = st.floats(1e-300, 1e300)
records = st.builds(
    LedgerRecord,
    dataset_fingerprint=digests,
    data_year=st.integers(1900, 9999),
    study_digest=st.sampled_from([bytes([value]) * 32 for value in range(3)]),
    round_number=st.integers(1, 10**6),
    attempt=st.integers(1, 10),
    plan_digest=digests,
    noise_multiplier=st.sampled_from([0.5, 23.59, 44.47]),
    clip_norm=positive,
    grid=positive,
    max_nodes_per_person=st.integers(1, 400),
    planned_contributors=st.integers(8, 400),
    dropouts=st.integers(0, 3),
    colluders=st.integers(0, 3),
    sample_rate=st.sampled_from([1.0, 0.01]),
    recorded_at=st.datetimes(timezones=st.timezones()).map(lambda time: time.isoformat()),
)


@settings(deadline=None, max_examples=at_most(60))
@given(records)
def test_a_record_is_read_as_it_was_written(record: LedgerRecord) -> None:
    assert LedgerRecord.from_bytes(record.to_bytes()) == record


def test_a_stored_record_keeps_its_meaning() -> None:
    """Meanings of stored records never change: this spelling must stay readable."""
    assert RECORD.to_bytes() == (
        b'{"format":"fedmed/ledger/1","dataset_fingerprint":"'
        + b"01" * 32
        + b'","data_year":2025,"unit":"person",'
        b'"study_digest":"'
        + b"02" * 32
        + b'","round_number":3,"attempt":1,"plan_digest":"'
        + b"03" * 32
        + b'",'
        b'"mechanism":"discrete_gaussian_sum","noise_multiplier":23.59,"clip_norm":4.0,"grid":0.0009765625,'
        b'"max_nodes_per_person":1,"planned_contributors":4,"dropouts":1,"colluders":1,"sample_rate":1.0,'
        b'"recorded_at":"2026-01-31T08:00:00+00:00"}'
    )
    assert RECORD.mechanism is Mechanism.DISCRETE_GAUSSIAN_SUM
    assert RECORD.unit is Unit.PERSON


def test_a_whole_number_given_for_a_real_one_has_the_same_spelling() -> None:
    assert replace(RECORD, clip_norm=4).to_bytes() == RECORD.to_bytes()


@pytest.mark.parametrize(
    ("written", "instead"),
    [
        (b'"unit":"person"', b'"unit":"record"'),
        (b"discrete_gaussian_sum", b"laplace"),
        (b'"attempt":1', b'"attempt":0'),
        (b'"attempt":1', b'"attempt":-1'),
        (b'"attempt":1', b'"attempt": 1'),
        (b'"attempt":1', b'"attempt":1.0'),
        (b'"attempt":1', b'"attempt":true'),
        (b'"attempt":1', b'"attempt":1,"attempt":1'),
        (b'"attempt":1', b'"attempt":1,"refunded":1'),
        (b'"attempt":1,', b""),
        (b"23.59", b"23.590"),
        (b"23.59", b"0.0"),
        (b"23.59", b"NaN"),
        (b"23.59", b"Infinity"),
        (b"23.59", b"1e999"),
        (b'"sample_rate":1.0', b'"sample_rate":1.5'),
        (b"02" * 32, b"0A" * 32),
        (b"02" * 32, b"02" * 31),
        (b"02" * 32, b"zz" * 32),
        (b'"dropouts":1', b'"dropouts":3'),
        (b"+00:00", b""),
        (b"}", b"} "),
    ],
)
def test_altered_records_are_refused(written: bytes, instead: bytes) -> None:
    data = RECORD.to_bytes()
    assert written in data
    with pytest.raises(IntegrityError, match="ledger record"):
        LedgerRecord.from_bytes(data.replace(written, instead))


def test_a_record_of_another_version_is_refused() -> None:
    with pytest.raises(UnknownVersion):
        LedgerRecord.from_bytes(RECORD.to_bytes().replace(b"ledger/1", b"ledger/3"))


@pytest.mark.parametrize(
    "fault",
    [
        {"dataset_fingerprint": bytes(31)},
        {"study_digest": bytes(33)},
        {"plan_digest": b""},
        {"round_number": 0},
        {"attempt": 0},
        {"max_nodes_per_person": 0},
        {"data_year": 25},
        {"noise_multiplier": 0.0},
        {"noise_multiplier": float("inf")},
        {"clip_norm": float("nan")},
        {"grid": 0.0},
        {"sample_rate": 0.0},
        {"dropouts": -1},
        {"dropouts": 2},
        {"recorded_at": "yesterday"},
    ],
)
def test_an_impossible_record_cannot_be_made(fault: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        replace(RECORD, **fault)  # type: ignore[arg-type]


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(st.lists(records, max_size=12))
def test_events_count_every_record_once(some: list[LedgerRecord]) -> None:
    folded = events(some)
    assert sum(event.count for event in folded) == len(some)
    for event in folded:
        pair = (event.noise_multiplier, event.sample_rate)
        assert event.count == sum((r.noise_multiplier, r.sample_rate) == pair for r in some)
    assert len({(event.noise_multiplier, event.sample_rate) for event in folded}) == len(folded)


def test_events_keep_the_order_in_which_they_first_occur() -> None:
    other = replace(RECORD, noise_multiplier=1.0)
    assert events([other, RECORD, RECORD]) == (
        PrivacyEvent(noise_multiplier=1.0),
        PrivacyEvent(noise_multiplier=23.59, count=2),
    )
    assert events([]) == ()


def test_a_repeated_attempt_is_charged_twice() -> None:
    """An error here may only err towards spending more."""
    assert events([RECORD, RECORD])[0].count == 2


def test_an_exact_sum_is_recorded_and_costs_no_epsilon() -> None:
    exact = replace(RECORD, mechanism=Mechanism.EXACT_SUM, noise_multiplier=0.0)
    assert LedgerRecord.from_bytes(exact.to_bytes()) == exact
    assert exact.event is None
    assert events([exact, RECORD, exact]) == events([RECORD])


@pytest.mark.parametrize(
    ("mechanism", "noise"), [(Mechanism.EXACT_SUM, 1.0), (Mechanism.DISCRETE_GAUSSIAN_SUM, 0.0)]
)
def test_a_sum_has_noise_exactly_where_its_mechanism_says_so(mechanism: Mechanism, noise: float) -> None:
    with pytest.raises(ConfigError, match="noise"):
        replace(RECORD, mechanism=mechanism, noise_multiplier=noise)


LOCAL = replace(
    RECORD, mechanism=Mechanism.LOCAL_GAUSSIAN_STEPS, sample_rate=0.1, releases=20, noise_multiplier=2.5
)


def test_local_steps_have_a_format_of_their_own_and_count_as_many_releases() -> None:
    assert LOCAL.to_bytes().startswith(b'{"format":"fedmed/ledger/2"')
    assert LedgerRecord.from_bytes(LOCAL.to_bytes()) == LOCAL
    assert LOCAL.event == PrivacyEvent(noise_multiplier=2.5, sample_rate=0.1, count=20)
    assert events([LOCAL, RECORD, LOCAL])[0].count == 40


@pytest.mark.parametrize("mechanism", [Mechanism.DISCRETE_GAUSSIAN_SUM, Mechanism.EXACT_SUM])
def test_only_local_steps_are_several_releases(mechanism: Mechanism) -> None:
    with pytest.raises(ConfigError):
        replace(LOCAL, mechanism=mechanism, sample_rate=1.0)


def test_one_format_is_not_read_as_the_other() -> None:
    for record, other in ((LOCAL, b"ledger/1"), (RECORD, b"ledger/2")):
        given = record.to_bytes()
        with pytest.raises(IntegrityError):
            LedgerRecord.from_bytes(given.replace(b"ledger/1", other).replace(b"ledger/2", other))
