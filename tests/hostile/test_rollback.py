"""A custodian whose store is an old copy: noticed as soon as a peer shows a later message of its own.

PROTOCOL.md section 6 refuses "a custodian restored from a backup in studies begun before"; section 1 tells
what a forgetful custodian is worth to a coordinator.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fedmed.governance.audit_chain import EMPTY_CHAIN, AuditKind, ChainHead
from fedmed.protocol.steps import PhaseKind
from fedmed.types import Scheme
from fedmed_nodes.rollback import is_on_chain, proves_rollback
from fedmed_nodes.sqlite_store import SqliteStore
from tests.attacks import header_by_hand
from tests.federation import (
    Attempt,
    Trial,
    make_trial,
    no_check,
)

POINT = 2
ALL = (1, 2, 3, 4)
T = (1, 2, 3)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "stores"


@pytest.fixture
def trial(folder: Path) -> Trial:
    """Four custodians on disk with a study under way."""
    return make_trial(scheme=Scheme.PLAIN, store=lambda point: SqliteStore(path_of(folder, point)))


def path_of(folder: Path, point: int) -> Path:
    return folder / str(point) / "custodian.db"


def back_up(trial: Trial, folder: Path) -> Path:
    """Stop the custodian, copy its file, start it again; a plain restart is no restore."""
    trial.federation.nodes[POINT].effects.store.close()
    copy = folder / "backup.db"
    shutil.copy(path_of(folder, POINT), copy)
    reopen(trial, folder)
    trial.ask_nonce(POINT)
    return copy


def restore(trial: Trial, folder: Path, copy: Path) -> None:
    """Put the old file back in place of the present one, without a word."""
    trial.federation.nodes[POINT].effects.store.close()
    shutil.copy(copy, path_of(folder, POINT))
    reopen(trial, folder)
    trial.ask_nonce(POINT)


def reopen(trial: Trial, folder: Path) -> None:
    node = trial.federation.nodes[POINT]
    node.effects = type(node.effects)(
        store=SqliteStore(path_of(folder, POINT), create=False),
        secrets=node.effects.secrets,
        clock=node.effects.clock,
        noise=node.effects.noise,
    )
    node.restart()


def ask(trial: Trial, attempt: Attempt, contributors: tuple[int, ...] = ALL) -> str:
    parts = trial.request(attempt, POINT, contributors=contributors, openers=T)
    return trial.federation.ask(POINT, PhaseKind.OPEN, *parts).code


def test_a_header_from_a_forgotten_life_stops_all_studies_begun_before(trial: Trial, folder: Path) -> None:
    copy = back_up(trial, folder)
    begun = trial.begin()
    restore(trial, folder, copy)
    assert ask(trial, begun) == "restored_from_backup"

    node = trial.federation.nodes[POINT]
    kinds = [entry.event.kind for entry in node.audit[-2:]]
    assert kinds == [AuditKind.RESTORED, AuditKind.REFUSED]
    plan = trial.plan(2)
    assert (
        trial.federation.ask(POINT, PhaseKind.CONTRIBUTE, plan, trial.inputs).code == "restored_from_backup"
    )
    entries = len(node.audit)
    assert ask(trial, begun) == "restored_from_backup"
    assert len(node.audit) == entries + 1, "marked once"
    reopen(trial, folder)
    plan = trial.plan(2)
    assert (
        trial.federation.ask(POINT, PhaseKind.CONTRIBUTE, plan, trial.inputs).code == "restored_from_backup"
    )


def test_without_the_check_a_forgetful_custodian_answers_a_second_set(
    trial: Trial, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round 1 was answered for everybody; the restored custodian then answers round 2 without node 4."""
    copy = back_up(trial, folder)
    first = trial.begin()
    trial.open(first, contributors=ALL, openers=T)
    restore(trial, folder, copy)
    monkeypatch.setattr("fedmed_nodes.custodian.proves_rollback", no_check)
    assert ask(trial, first) == "nonce_mismatch", "refused, but nothing is noticed"
    assert ask(trial, trial.begin(2, points=(1, 2, 3)), contributors=(1, 2, 3)) == ""


def test_it_is_noticed_although_the_new_chain_has_grown_beyond_the_header(trial: Trial, folder: Path) -> None:
    """A counter alone would not do: refusals lengthen the chain after the restore."""
    copy = back_up(trial, folder)
    begun = trial.begin()
    restore(trial, folder, copy)
    for _ in range(5):
        trial.federation.ask(POINT, PhaseKind.OPEN)
    assert len(trial.federation.nodes[POINT].audit) > len(trial.federation.nodes[1].audit)
    assert ask(trial, begun) == "restored_from_backup"


def test_a_plain_restart_is_not_a_restore(trial: Trial, folder: Path) -> None:
    begun = trial.begin()
    reopen(trial, folder)
    assert ask(trial, begun) == "plan_not_accepted"
    trial.ask_nonce(POINT)
    later = trial.begin(1, 2)
    assert ask(trial, later) == ""


def test_nobody_else_can_stop_a_custodian(trial: Trial) -> None:
    """A header that this custodian did not sign proves nothing, whatever counter it names."""
    node, roster = trial.federation.nodes[POINT], trial.federation.roster
    future = ChainHead(counter=1000, head=bytes([9]) * 32)
    plan = trial.plan()
    own = header_by_hand(trial, POINT, plan, position=future)
    foreign = header_by_hand(trial, 3, plan, position=future)
    store = node.effects.store
    assert proves_rollback(store, roster, point=POINT, header=own)
    assert not proves_rollback(store, roster, point=POINT, header=foreign)
    assert not proves_rollback(store, roster, point=POINT, header=own[:-1])
    assert not proves_rollback(store, roster, point=POINT, header=b"")


def test_every_place_that_a_chain_had_is_on_it(trial: Trial) -> None:
    store = trial.federation.nodes[POINT].effects.store
    for entry in store.audit():
        assert is_on_chain(store, counter=entry.counter, head=entry.head)
        assert not is_on_chain(store, counter=entry.counter, head=bytes(32))
    assert is_on_chain(store, counter=0, head=EMPTY_CHAIN.head)
    assert not is_on_chain(store, counter=0, head=bytes([1]) * 32)
    assert not is_on_chain(store, counter=len(store.audit()) + 1, head=bytes(32))
