"""SIGKILL at random moments: no acknowledged debit is lost and no attempt is answered for two sets."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from fedmed import wire
from fedmed.governance.audit_chain import verify_chain
from fedmed.messages import Header
from fedmed.protocol import envelope
from fedmed.protocol.binding import plan_digest
from fedmed.protocol.schedule import chunk_count
from fedmed.protocol.steps import PhaseKind
from tests.federation import COORDINATOR, Attempt, CopyableStore, Trial, identity_of, make_trial
from tests.hostile.one_custodian import VICTIM, ask, stores

ROOT = Path(__file__).resolve().parents[2]
LIVES, LONGEST_LIFE, SEED = 12, 4.0, 20_261_121
"""A life lasts at most this many times as long as an undisturbed attempt, however slow the machine."""
EVERYBODY, OPENERS, OTHER_OPENERS = (1, 2, 3, 4), (1, 2, 3), (1, 2, 4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    return tmp_path


@pytest.fixture
def trial(folder: Path) -> Trial:
    return long_study(folder)


@pytest.fixture
def births(folder: Path, trial: Trial) -> Iterator[subprocess.Popen[str]]:
    paths = os.pathsep.join([str(ROOT), *sys.path])
    with subprocess.Popen(
        [sys.executable, "-m", "tests.hostile.one_custodian", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()
        process.wait(timeout=20)


def pipes(process: subprocess.Popen[str]) -> tuple[IO[str], IO[str]]:
    assert process.stdin is not None
    assert process.stdout is not None
    return process.stdin, process.stdout


def long_study(folder: Path) -> Trial:
    """A study of many rounds that the victim has accepted, its stores in files."""
    trial = make_trial(4, training__aggregations=LIVES * 20)
    effects = trial.federation.nodes[VICTIM].effects
    assert isinstance(effects.store, CopyableStore)
    store, secrets = stores(folder)
    store.commit(effects.store.whole())
    store.close()
    secret = effects.secrets.get(trial.epoch_id)
    assert secret is not None
    secrets.put(trial.epoch_id, secret)
    return trial


@dataclass
class Seen:
    """What the coordinator was sent, by plan digest."""

    contributions: dict[bytes, set[tuple[bytes, ...]]] = field(default_factory=dict)
    answers: dict[bytes, set[tuple[bytes, ...]]] = field(default_factory=dict)
    openings_asked: int = 0


class Coordinator:
    """Runs attempts with the victim; the other nodes' headers are signed with their keys."""

    def __init__(self, trial: Trial) -> None:
        self.trial = trial
        self.seen = Seen()
        self.round_number = 0
        self.last: tuple[bytes, Attempt | None] = (b"", None)
        self.attempt_s = 0.0

    def others_headers(self, plan: bytes) -> dict[int, tuple[bytes, ...]]:
        digests = (bytes(32),) * chunk_count(self.trial.layout)
        content = wire.encode_header(Header(chunk_digests=digests, next_nonce=bytes(16)))
        return {
            point: (
                envelope.sign_message(
                    identity_of(point),
                    envelope.HEADER,
                    content,
                    context=plan_digest(plan),
                    receiver=identity_of(COORDINATOR).name,
                ),
            )
            for point in EVERYBODY
            if point != VICTIM
        }

    def ask_last_again(self, connection: socket.socket) -> None:
        """After a restart: the same question gets the same bytes, another set gets none."""
        plan, attempt = self.last
        if plan:
            self._contribute(connection, plan)
        if attempt is not None:
            self._open(connection, attempt, OTHER_OPENERS)
            self._open(connection, attempt, OPENERS)

    def attempt(self, connection: socket.socket) -> None:
        """Nonce, contribution, opening."""
        trial, self.round_number = self.trial, self.round_number + 1
        request = trial.federation.sign(
            COORDINATOR, envelope.NONCE, b"", context=trial.digest, receiver=VICTIM
        )
        trial.nonces[VICTIM] = trial.nonce_in(ask(connection, PhaseKind.NONCE, request))
        plan = trial.plan(self.round_number, 1)
        self.last = (plan, None)
        header = self._contribute(connection, plan)
        assert header is not None, "a new plan with a new nonce is accepted"
        attempt = Attempt(plan=plan, contributions={VICTIM: header, **self.others_headers(plan)})
        self.last = (plan, attempt)
        self._open(connection, attempt, OPENERS)

    def _contribute(self, connection: socket.socket, plan: bytes) -> tuple[bytes, ...] | None:
        reply = ask(connection, PhaseKind.CONTRIBUTE, plan, self.trial.inputs)
        if reply.is_refusal:
            assert reply.code in ("plan_not_newer", "nonce_mismatch"), reply.code
            assert plan_digest(plan) not in self.seen.contributions, "a sent contribution is sent again"
            return None
        self.seen.contributions.setdefault(plan_digest(plan), set()).add(reply.parts)
        return reply.parts

    def _open(self, connection: socket.socket, attempt: Attempt, openers: tuple[int, ...]) -> None:
        self.seen.openings_asked += 1
        request = self.trial.request(attempt, VICTIM, contributors=EVERYBODY, openers=openers)
        reply = ask(connection, PhaseKind.OPEN, *request)
        if reply.is_refusal:
            assert reply.code == "plan_not_accepted"
            return
        self.seen.answers.setdefault(attempt.digest, set()).add(reply.parts)


def one_life(births: subprocess.Popen[str], name: str, coordinator: Coordinator, length: float) -> None:
    """Start a custodian, work with it, and kill it after ``length`` attempts' time."""
    lines, told = pipes(births)
    lines.write(name + "\n")
    lines.flush()
    victim = int(told.readline())
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(name)
        coordinator.ask_last_again(connection)
        if not coordinator.attempt_s:
            coordinator.attempt(connection)  # the first one of a process loads what the others find
            began = time.monotonic()
            coordinator.attempt(connection)
            coordinator.attempt_s = time.monotonic() - began
        timer = threading.Timer(length * coordinator.attempt_s, os.kill, (victim, signal.SIGKILL))
        timer.start()
        try:
            while True:
                coordinator.attempt(connection)
        except (EOFError, ConnectionError):
            pass
        finally:
            timer.join()
    assert told.readline() == "dead\n"


@pytest.mark.slow
def test_a_killed_custodian_forgets_no_debit_and_answers_no_attempt_for_two_sets(
    folder: Path, trial: Trial, births: subprocess.Popen[str]
) -> None:
    coordinator = Coordinator(trial)
    chance = random.Random(SEED)
    for life in range(LIVES):
        one_life(births, f"life{life}", coordinator, chance.uniform(0, LONGEST_LIFE))
    store, _ = stores(folder)
    seen, ledger = coordinator.seen, [r.plan_digest for r in store.ledger()]
    assert len(seen.contributions) >= 3, "the lives were too short to test anything"
    assert len(ledger) == len(set(ledger)), "one attempt was charged twice"
    assert set(seen.contributions) <= set(ledger), "an acknowledged debit was lost"
    assert all(len(sent) == 1 for sent in seen.contributions.values()), "a contribution was made twice"
    assert all(len(sent) == 1 for sent in seen.answers.values()), "an attempt was answered in two ways"
    verify_chain(store.audit(), identity_of(VICTIM).public)
    store.close()
