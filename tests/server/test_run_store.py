from __future__ import annotations

import datetime
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError, FedMedError, IntegrityError
from fedmed.protocol.steps import Phase, PhaseKind, Reply, Steps
from fedmed_server.files import create_private, pack, private_folder, read_private, unpack
from fedmed_server.journal import journaled, phase_digest
from fedmed_server.run_store import Began, RunStore, opened_store
from fedmed_server.study_flow import StudyOutcome, StudyRun, StudyState, conduct
from tests.federation import (
    COORDINATOR,
    NOW,
    Federation,
    fresh_federation,
    identity_of,
    insecure_no_noise,
    small_study,
)

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

BEGAN = Began(study_digest=b"s" * 32, roster_digest=b"r" * 32, today=datetime.date(2026, 6, 1))


class Killed(Exception):
    """Stands for SIGKILL: nothing that the ServerApp would still do is done."""


class Killer:
    """Kills the ServerApp at the N-th phase of a name: when it has asked some nodes, or has all answers."""

    def __init__(self, name: str, nth: int, *, halfway: bool) -> None:
        self._name, self._nth, self._halfway, self._seen = name, nth, halfway, 0

    def before(self, phase: Phase, point: int, parts: tuple[bytes, ...]) -> tuple[bytes, ...]:
        if phase.name == self._name and point == min(phase.requests):
            self._seen += 1
        if self._halfway and point == max(phase.requests) and self._is_due(phase):
            raise Killed
        return parts

    def after(self, phase: Phase, point: int, reply: Reply) -> Reply:
        if not self._halfway and point == max(phase.requests) and self._is_due(phase):
            raise Killed
        return reply

    def _is_due(self, phase: Phase) -> bool:
        return phase.name == self._name and self._seen == self._nth


def study_run(federation: Federation) -> StudyRun:
    return StudyRun(
        spec=small_study(4),
        identity=identity_of(COORDINATOR),
        roster=federation.roster,
        today=NOW.date(),
    )


def steps_of(federation: Federation, store: RunStore) -> Steps[StudyOutcome]:
    return journaled(conduct(study_run(federation), on_state=store.save, start=store.state()), store)


def spent(federation: Federation) -> list[int]:
    """Charged attempts in each ledger."""
    return [len(node.effects.store.ledger()) for node in federation.nodes.values()]


@pytest.fixture(scope="module")
def clean() -> tuple[StudyOutcome, list[int]]:
    federation = fresh_federation(4, noise=insecure_no_noise)
    outcome = federation.drive(conduct(study_run(federation), on_state=lambda state: None))
    return outcome, spent(federation)


STUDY_PHASES = [("propose", 1), ("contribute", 1), ("open", 1), ("contribute", 3), ("open", 3), ("close", 1)]


@pytest.mark.parametrize("halfway", [False, True])
@pytest.mark.parametrize(("name", "nth"), STUDY_PHASES)
def test_a_killed_study_goes_on_and_nobody_spends_twice(
    tmp_path: Path, clean: tuple[StudyOutcome, list[int]], name: str, nth: int, halfway: bool
) -> None:
    federation = fresh_federation(4, noise=insecure_no_noise)
    killer = Killer(name, nth, halfway=halfway)
    with opened_store(tmp_path / "run") as store, pytest.raises(Killed):
        federation.drive(steps_of(federation, store), tamper=killer.before, garble=killer.after)
    with opened_store(tmp_path / "run") as store:
        outcome = federation.drive(steps_of(federation, store))
    expected, expected_spent = clean
    assert np.array_equal(outcome.parameters, expected.parameters)
    assert [r.attempts for r in outcome.rounds] == [r.attempts for r in expected.rounds]
    assert all(
        np.array_equal(a.parameters, b.parameters)
        for a, b in zip(outcome.rounds, expected.rounds, strict=True)
    )
    assert outcome.plans == expected.plans
    assert spent(federation) == expected_spent


@pytest.mark.parametrize("halfway", [False, True])
@pytest.mark.parametrize("step", ["start", "deal", "share", "agree", "confirm", "conclude"])
def test_a_ceremony_that_was_killed_ends_well_or_spends_nothing(
    tmp_path: Path, step: str, halfway: bool
) -> None:
    federation = fresh_federation(4, noise=insecure_no_noise)
    killer = Killer(f"ceremony {step}", 1, halfway=halfway)
    with opened_store(tmp_path / "run") as store, pytest.raises(Killed):
        federation.drive(steps_of(federation, store), tamper=killer.before, garble=killer.after)
    with opened_store(tmp_path / "run") as store:
        try:
            outcome = federation.drive(steps_of(federation, store))
        except FedMedError:
            assert spent(federation) == [0] * 4
            assert store.state() is None
        else:
            assert len(outcome.rounds) == small_study(4).training.aggregations


def test_finished_phases_are_not_sent_again(tmp_path: Path) -> None:
    federation = fresh_federation(4, noise=insecure_no_noise)
    killer = Killer("contribute", 3, halfway=True)
    with opened_store(tmp_path / "run") as store, pytest.raises(Killed):
        federation.drive(steps_of(federation, store), tamper=killer.before, garble=killer.after)
    asked: list[str] = []

    def note(phase: Phase, point: int, parts: tuple[bytes, ...]) -> tuple[bytes, ...]:
        asked.append(phase.name)
        return parts

    with opened_store(tmp_path / "run") as store:
        federation.drive(steps_of(federation, store), tamper=note)
    assert asked[0] == "contribute"
    assert not any(name.startswith(("ceremony", "propose")) for name in asked)


def test_a_saved_state_comes_back_as_it_was(tmp_path: Path) -> None:
    federation = fresh_federation(4)
    states: list[StudyState] = []
    with opened_store(tmp_path / "run") as store:

        def save(state: StudyState) -> None:
            store.save(state)
            states.append(state)
            again = store.state()
            assert again is not None
            assert again.standing == state.standing
            assert again.epoch_id == state.epoch_id
            assert len(again.rounds) == len(state.rounds)
            assert np.array_equal(again.program["velocity"], state.program["velocity"])
            assert np.array_equal(again.program["parameters"], state.program["parameters"])

        federation.drive(conduct(study_run(federation), on_state=save))
    assert len(states) == 1 + small_study(4).training.aggregations


def test_a_journal_of_another_phase_is_refused(tmp_path: Path) -> None:
    one = Phase(name="a", kind=PhaseKind.OPEN, requests={1: (b"x",)})
    other = Phase(name="a", kind=PhaseKind.OPEN, requests={1: (b"x", b"")})
    assert phase_digest(one) != phase_digest(other)
    with opened_store(tmp_path / "run") as store:
        store.keep(phase_digest(one), {1: Reply(parts=(b"", b"y")), 2: Reply(code="node_lost")})
    with opened_store(tmp_path / "run") as store, pytest.raises(IntegrityError, match="another phase"):
        store.recall(phase_digest(other))
    with opened_store(tmp_path / "run") as store:
        replies = store.recall(phase_digest(one))
        assert replies == {1: Reply(parts=(b"", b"y")), 2: Reply(code="node_lost")}
        assert store.recall(phase_digest(one)) is None


def test_one_process_at_a_time_has_a_run(tmp_path: Path) -> None:
    with (
        opened_store(tmp_path / "run"),
        pytest.raises(ConfigError, match="another process"),
        opened_store(tmp_path / "run"),
    ):
        pass


def test_a_run_begins_once_and_resumes_with_its_first_day(tmp_path: Path) -> None:
    later = replace(BEGAN, today=datetime.date(2026, 7, 1))
    with opened_store(tmp_path / "run") as store:
        with pytest.raises(ConfigError, match="no run"):
            store.begin(BEGAN, resume=True)
        assert store.begin(BEGAN, resume=False) == BEGAN
        with pytest.raises(ConfigError, match="run here before"):
            store.begin(BEGAN, resume=False)
        assert store.begin(later, resume=True) == BEGAN
        with pytest.raises(ConfigError, match="not the one"):
            store.begin(replace(BEGAN, study_digest=b"x" * 32), resume=True)
        store.end()
        with pytest.raises(ConfigError, match="over"):
            store.begin(BEGAN, resume=True)


def test_a_ceremony_that_came_to_nothing_is_forgotten(tmp_path: Path) -> None:
    with opened_store(tmp_path / "run") as store:
        store.begin(BEGAN, resume=False)
        store.keep(b"d" * 32, {1: Reply(parts=(b"x",))})
        store.forget()
        assert store.begin(BEGAN, resume=False) == BEGAN
        assert store.recall(b"d" * 32) is None


@given(parts=st.lists(st.binary(max_size=40), max_size=5), at=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(deadline=None, max_examples=100)
def test_a_record_comes_back_and_a_flipped_bit_is_noticed(parts: list[bytes], at: int, bit: int) -> None:
    record = pack({"n": 1}, parts)
    assert unpack(record) == ({"n": 1}, tuple(parts))
    flipped = bytearray(record)
    flipped[at % len(record)] ^= 1 << bit
    with pytest.raises(IntegrityError):
        unpack(bytes(flipped))


def test_files_open_to_others_are_refused(tmp_path: Path) -> None:
    create_private(tmp_path / "a", b"x")
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
    (tmp_path / "a").chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        read_private(tmp_path / "a")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(ConfigError, match="no link"):
        read_private(tmp_path / "link")
    with pytest.raises(ConfigError, match="exists already"):
        create_private(tmp_path / "a", b"y")
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(ConfigError, match="chmod 700"):
        private_folder(tmp_path / "open")
