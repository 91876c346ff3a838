"""The drill of backup and restore: a custodian on a real disk, in a federation, before and after the loss."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.crypto.card import card_text
from fedmed.governance.audit_chain import AuditKind, verify_chain
from fedmed.protocol.coordinator_ceremony import hold_ceremony
from fedmed.protocol.steps import PhaseKind
from fedmed.types import ActPlace
from fedmed_nodes.backup_desk import back_up
from fedmed_nodes.budget_view import budget_of
from fedmed_nodes.home import CARD_FILE, KEY_FILE, Home, create_home
from fedmed_nodes.kept_store import KeptStore
from fedmed_nodes.operator_views import budget_lines
from fedmed_nodes.restore import restore_backup
from tests.federation import (
    COORDINATOR,
    NOW,
    Attempt,
    CopyableStore,
    Federation,
    Node,
    Trial,
    identity_of,
    make_federation,
    small_study,
)
from tests.node_home import me, write

# A ceremony and a whole federation each: too long for the fast part of the suite.
pytestmark = pytest.mark.slow

VICTIM, EVERYBODY, OPENERS = 1, (1, 2, 3, 4), (1, 2, 3)


@dataclass
class Drill:
    """A federation of four whose first custodian lives in a real home."""

    home: Home
    federation: Federation

    @property
    def node(self) -> Node:
        return self.federation.nodes[VICTIM]

    def start(self) -> None:
        """A new process on the home."""
        effects = replace(self.node.effects, store=self.home.store(), secrets=self.home.secrets())
        self.node.effects = effects
        self.node.restart()

    def stop(self) -> None:
        """The process ends."""
        self.node.effects.store.close()

    def study(self, rate: float) -> Trial:
        """A study that all accepted, with one round opened."""
        trial = Trial(self.federation, small_study(training__learning_rate=rate))
        trial.propose()
        trial.round()
        return trial


@pytest.fixture
def drill(tmp_path: Path) -> Drill:
    create_home(tmp_path / "home", "node1", user=me())
    home, own = Home(tmp_path / "home"), identity_of(VICTIM)
    write(home.path / KEY_FILE, own.private_bytes(), me())
    write(home.path / CARD_FILE, card_text(own.public).encode(), me())
    store = home.store()
    federation = make_federation(store=lambda point: store if point == VICTIM else CopyableStore())
    made = Drill(home, federation)
    secrets = made.node.effects.secrets
    for epoch in secrets.epochs():
        home.secrets().put(epoch, secrets.get(epoch) or b"")
    made.stop()
    made.start()
    return made


def open_codes(trial: Trial, attempt: Attempt) -> str:
    """The victim's code when the coordinator asks it to open an attempt."""
    parts = trial.request(attempt, VICTIM, contributors=EVERYBODY, openers=OPENERS)
    return trial.federation.ask(VICTIM, PhaseKind.OPEN, *parts).code


def test_a_backup_comes_back_and_nothing_of_before_goes_on(drill: Drill, tmp_path: Path) -> None:
    before = drill.study(0.5)
    drill.stop()
    manifest = back_up(drill.home, tmp_path / "backup")
    assert manifest.charges == 1
    drill.start()
    before.ask_nonce(VICTIM)
    later = before.begin(2)
    forgotten = drill.study(0.25)
    assert len(drill.node.effects.store.ledger()) == 3
    known = drill.node.audit[-1].counter

    drill.stop()
    shutil.rmtree(drill.home.path / "store")  # the disk fails
    done = restore_backup(drill.home, tmp_path / "backup")
    assert (done.from_entry, done.known_entry, done.charges) == (manifest.head.counter, known, 1)
    drill.start()

    store = drill.node.effects.store
    assert isinstance(store, KeptStore)
    assert verify_chain(store.audit(), drill.home.card()).counter == manifest.head.counter + 1
    assert store.audit(1)[0].event.kind is AuditKind.RESTORED
    assert drill.home.secrets().epochs() == frozenset()
    assert drill.federation.ask(VICTIM, PhaseKind.CONTRIBUTE, later.plan, before.inputs).is_refusal
    assert open_codes(before, later) == "epoch_mismatch", "the keys of its epoch are gone"
    assert drill.federation.ask(VICTIM, PhaseKind.PROPOSE, forgotten.proposal()).code == "epoch_mismatch"

    place = ActPlace(
        node="node1",
        roster_digest=bytes(32),
        policy_digest=bytes(32),
        approvals_needed=0,
        counter=0,
        head=bytes(32),
    )
    datasets = drill.node.settings.datasets
    shown = budget_lines(
        budget_of(store, datasets=datasets, cap_epsilon=4.0, place=place, has_lapsed=lambda study: False)
    )
    assert f"entries {manifest.head.counter + 1} to {known} are lost, and their charges" in shown
    assert "Every study waits for your approval" in shown

    steps = hold_ceremony(
        identity_of(COORDINATOR), drill.federation.roster, today=NOW.date(), combiner=ThresholdCombiner
    )
    drill.federation.epoch_id = drill.federation.drive(steps).epoch_id
    again = Trial(drill.federation, forgotten.spec)
    code = drill.federation.ask(VICTIM, PhaseKind.PROPOSE, again.proposal()).code
    assert code == "approval_pending", "the policy approves by itself, after a restore nobody does"

    # Even with the operator's yes and a new epoch, a study begun before the restore gets no answer.
    old = Trial(drill.federation, before.spec)
    drill.node.custodian.studies.approve(old.digest)
    old.propose()
    reply = drill.federation.ask(VICTIM, PhaseKind.CONTRIBUTE, old.plan(3), old.inputs)
    assert reply.code == "restored_from_backup"
    drill.stop()


def test_a_snapshot_that_set_the_mark_back_too_is_noticed_by_a_later_message(
    drill: Drill, tmp_path: Path
) -> None:
    """What no file of the home can tell, a message that others kept does."""
    trial = drill.study(0.5)
    drill.stop()
    shutil.copytree(drill.home.path, tmp_path / "snapshot")
    drill.start()
    trial.ask_nonce(VICTIM)
    later = trial.begin(2)
    drill.stop()
    shutil.rmtree(drill.home.path)
    shutil.copytree(tmp_path / "snapshot", drill.home.path)
    drill.start()
    trial.ask_nonce(VICTIM)
    assert open_codes(trial, later) == "restored_from_backup"
    kinds = [entry.event.kind for entry in drill.node.audit[-2:]]
    assert kinds == [AuditKind.RESTORED, AuditKind.REFUSED]
    assert drill.home.secrets().epochs() == frozenset()
    drill.stop()
