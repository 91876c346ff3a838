"""What a custodian keeps, charges, resends and forgets; what it refuses is in ``tests/hostile``."""

from __future__ import annotations

import datetime
import threading
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from fedmed import wire
from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.crypto.identity import Identity
from fedmed.errors import MessageMalformed, StudyUnknown
from fedmed.governance.audit_chain import AuditEntry, AuditKind, ChainHead, verify_chain
from fedmed.governance.ledger_head import LedgerHead
from fedmed.protocol import envelope
from fedmed.protocol.binding import plan_digest
from fedmed.protocol.coordinator_ceremony import end_epoch, hold_ceremony
from fedmed.protocol.steps import PhaseKind
from fedmed.types import DatasetSpec, Scheme
from fedmed_nodes.ceremony_desk import EPOCH_DAYS, EpochRecord, epoch_key
from fedmed_nodes.custodian import Custodian
from fedmed_nodes.stores import Batch
from tests.federation import (
    COORDINATOR,
    NOW,
    OPEN_POLICY,
    CopyableStore,
    SetClock,
    Trial,
    UnreadableSource,
    fresh_federation,
    identity_of,
    make_trial,
    small_source,
    small_study,
)

POINT = 2
ALL = (1, 2, 3, 4)
T = (1, 2, 3)


@pytest.fixture
def trial() -> Trial:
    return make_trial(scheme=Scheme.PLAIN)


def kinds(entries: tuple[AuditEntry, ...]) -> list[AuditKind]:
    return [entry.event.kind for entry in entries]


def store_of(trial: Trial, point: int = POINT) -> CopyableStore:
    store = trial.federation.nodes[point].effects.store
    assert isinstance(store, CopyableStore)
    return store


# --- charges -----------------------------------------------------------------------------------------


def test_the_debit_is_on_disk_before_a_row_is_read(trial: Trial) -> None:
    """The row source looks at the ledger at the moment at which it is asked."""
    store, seen = store_of(trial), []

    class Watching(UnreadableSource):
        def training_examples(self, spec: DatasetSpec) -> Any:
            seen.append((len(store.ledger()), [e.event.detail for e in store.audit(1)]))
            return small_source(POINT).training_examples(spec)

    trial.federation.nodes[POINT].with_source(Watching())
    trial.ask_nonce(POINT)
    trial.contribute(POINT, trial.plan())
    stated = LedgerHead().after(store.ledger()).stated("plan of round 1 of 3 attempt 1")
    assert seen == [(1, [stated])], "the entry says where the ledger stands with the charge"


def test_a_charge_says_what_was_released_and_under_which_plan(trial: Trial) -> None:
    plan = trial.plan(2, 1)
    trial.contribute(POINT, plan)
    (record,) = store_of(trial).ledger()
    assert (record.study_digest, record.plan_digest) == (trial.digest, plan_digest(plan))
    assert (record.round_number, record.attempt) == (2, 1)
    assert record.noise_multiplier == trial.schedule.noise_multiplier
    assert record.grid == trial.layout.grid
    assert record.clip_norm == trial.spec.privacy.clip_norm
    assert record.dataset_fingerprint == small_source(POINT).fingerprint
    allowance = trial.terms.allowance
    given = (record.planned_contributors, record.dropouts, record.colluders)
    assert given == (allowance.planned_contributors, allowance.dropouts, allowance.colluders)


def test_whoever_only_answers_is_not_charged_and_reads_no_row(trial: Trial) -> None:
    begun = trial.begin(points=(1, 3, 4))
    rows = UnreadableSource()
    trial.federation.nodes[POINT].with_source(rows)
    trial.ask_nonce(POINT)
    plan = trial.plan(1, 2)
    begun = replace(begun, plan=plan, contributions={p: trial.contribute(p, plan) for p in (1, 3, 4)})
    trial.open(begun, contributors=(1, 3, 4), openers=T)
    assert store_of(trial).ledger() == ()
    assert rows.reads == 0


def test_the_rows_of_a_study_are_read_once_a_process(trial: Trial) -> None:
    class Counting(UnreadableSource):
        def training_examples(self, spec: DatasetSpec) -> Any:
            self.reads += 1
            return small_source(POINT).training_examples(spec)

    rows = Counting()
    trial.federation.nodes[POINT].with_source(rows)
    for position in ((1, 1), (1, 2), (2, 1)):
        trial.ask_nonce(POINT)
        trial.contribute(POINT, trial.plan(*position))
    assert rows.reads == 1


# --- resending ---------------------------------------------------------------------------------------


def test_the_same_plan_gets_the_stored_bytes_and_no_second_charge(trial: Trial) -> None:
    plan = trial.plan()
    first = trial.federation.ask(POINT, PhaseKind.CONTRIBUTE, plan, trial.inputs)
    before = trial.federation.nodes[POINT].contents()
    for _ in range(2):
        assert trial.federation.ask(POINT, PhaseKind.CONTRIBUTE, plan, trial.inputs) == first
        assert trial.federation.nodes[POINT].contents() == before
        trial.federation.nodes[POINT].with_source(UnreadableSource())
    assert kinds(store_of(trial).audit(2)) == [AuditKind.RESENT] * 2


def test_a_later_plan_replaces_what_could_be_resent(trial: Trial) -> None:
    earlier = trial.plan()
    trial.contribute(POINT, earlier)
    trial.contribute(POINT, trial.plan(1, 2))
    code = trial.federation.refused(POINT, PhaseKind.CONTRIBUTE, earlier, trial.inputs)
    assert code == "plan_not_newer"


def test_an_answer_is_on_disk_before_it_leaves(trial: Trial) -> None:
    begun = trial.begin()
    parts = trial.request(begun, POINT, contributors=ALL, openers=T)
    reply = trial.federation.ask(POINT, PhaseKind.OPEN, *parts)
    trial.federation.nodes[POINT].restart()
    assert trial.federation.ask(POINT, PhaseKind.OPEN, *parts) == reply


def test_an_answer_that_could_not_be_written_never_happened() -> None:
    """The disk is full while a custodian that only answers writes; the same plan is answered later."""

    class Failing(CopyableStore):
        full = False

        def commit(self, batch: Batch) -> None:
            if self.full:
                raise OSError("no space left on device")
            super().commit(batch)

    stores = {point: Failing() for point in ALL}
    trial = make_trial(scheme=Scheme.PLAIN, store=stores.__getitem__)
    begun = trial.begin(points=(1, 3, 4))
    parts = trial.request(begun, POINT, contributors=(1, 3, 4), openers=T)
    stores[POINT].full = True
    assert trial.federation.ask(POINT, PhaseKind.OPEN, *parts).code == "fedmed_error"
    stores[POINT].full = False
    assert not trial.federation.ask(POINT, PhaseKind.OPEN, *parts).is_refusal


# --- nonces ------------------------------------------------------------------------------------------


def test_every_message_carries_a_fresh_nonce(trial: Trial) -> None:
    seen = {trial.nonces[POINT]}
    begun = trial.begin()
    seen.add(trial.nonces[POINT])
    trial.open(begun, contributors=ALL, openers=T)
    assert trial.nonces[POINT] in seen, "an answer of a contributor repeats the nonce of its header"
    trial.ask_nonce(POINT)
    seen.add(trial.nonces[POINT])
    assert len(seen) == 3


def test_the_answer_of_a_custodian_that_did_not_contribute_brings_a_fresh_nonce(trial: Trial) -> None:
    used = trial.nonces[POINT]
    begun = trial.begin(points=(1, 3, 4))
    trial.open(begun, contributors=(1, 3, 4), openers=T)
    assert trial.nonces[POINT] != used
    later = trial.begin(2, points=(1, 3, 4))
    trial.open(later, contributors=(1, 3, 4), openers=T)


def test_a_nonce_is_never_written(trial: Trial) -> None:
    trial.ask_nonce(POINT)
    open_nonce = trial.nonces[POINT]
    assert not any(open_nonce in value for value in store_of(trial).values().values())


# --- audit chain -------------------------------------------------------------------------------------


def test_the_audit_chain_holds_and_messages_carry_its_position() -> None:
    trial = make_trial()
    node = trial.federation.nodes[POINT]
    trial.round(1)
    trial.federation.ask(POINT, PhaseKind.CONTRIBUTE, b"garbage")
    verify_chain(node.audit, identity_of(POINT).public)
    parts = trial.contribute(POINT, trial.plan(2))
    statement = wire.decode_statement(wire.decode_signed(parts[0]).body)
    claimed = ChainHead(counter=statement.audit_counter, head=statement.audit_head)
    verify_chain(node.audit, identity_of(POINT).public, expected_head=claimed)


def test_a_whole_round_leaves_one_entry_for_each_step() -> None:
    trial = make_trial()
    entries = len(trial.federation.nodes[POINT].audit)
    trial.round(1)
    assert kinds(trial.federation.nodes[POINT].audit[entries:]) == [
        AuditKind.ACCEPTED,
        AuditKind.CONTRIBUTED,
        AuditKind.OPENED,
    ]


# --- studies -----------------------------------------------------------------------------------------


def other_study(trial: Trial) -> Trial:
    return Trial(trial.federation, small_study(scheme=Scheme.PLAIN, training__learning_rate=0.25))


def test_a_study_waits_for_the_operator_and_runs_after_its_yes(trial: Trial) -> None:
    federation, node, other = trial.federation, trial.federation.nodes[POINT], other_study(trial)
    node.with_policy(replace(OPEN_POLICY, auto_approve=False))
    assert federation.ask(POINT, PhaseKind.PROPOSE, other.proposal()).code == "approval_pending"
    assert kinds(store_of(trial).audit(2)) == [AuditKind.PROPOSED, AuditKind.REFUSED]
    node.custodian.studies.approve(other.digest)
    other.propose(POINT)
    other.contribute(POINT, other.plan())
    assert {trial.digest.hex(), other.digest.hex()} == set(node.custodian.studies.known())


def test_nobody_approves_what_was_never_proposed(trial: Trial) -> None:
    with pytest.raises(StudyUnknown):
        trial.federation.nodes[POINT].custodian.studies.approve(bytes(32))


def test_proposing_a_study_again_reserves_nothing_more(trial: Trial) -> None:
    before = store_of(trial).get("reservations")
    trial.propose(POINT)
    assert store_of(trial).get("reservations") == before


@pytest.mark.slow
def test_what_was_answered_binds_a_study_across_key_epochs() -> None:
    """State is kept by the study's digest: a new ceremony does not free its first set."""
    trial = make_trial()
    trial.round(1)
    ceremony = hold_ceremony(
        identity_of(COORDINATOR), trial.federation.roster, today=NOW.date(), combiner=ThresholdCombiner
    )
    epoch_id = trial.federation.drive(ceremony).epoch_id
    assert epoch_id != trial.epoch_id
    trial.epoch_id = epoch_id
    trial.terms = replace(trial.terms, epoch_id=epoch_id)
    trial.propose()
    begun = trial.begin(2)
    parts = trial.request(begun, POINT, contributors=(1, 2, 3), openers=T)
    assert trial.federation.refused(POINT, PhaseKind.OPEN, *parts) == "set_changed"
    trial.open(begun, contributors=ALL, openers=T)


# --- the end of an epoch -----------------------------------------------------------------------------


def test_the_end_of_a_study_destroys_its_keys_and_nothing_is_answered_or_charged_after_it() -> None:
    trial = make_trial()
    begun = trial.begin()
    end = trial.federation.sign(COORDINATOR, envelope.STUDY_END, trial.epoch_id, context=trial.digest)
    assert trial.federation.ask(POINT, PhaseKind.CLOSE, end).parts == (b"closed",)
    assert trial.federation.nodes[POINT].effects.secrets.epochs() == frozenset()
    parts = trial.request(begun, POINT, contributors=ALL, openers=T)
    assert trial.federation.refused(POINT, PhaseKind.OPEN, *parts) == "epoch_mismatch"
    trial.ask_nonce(POINT)
    plan = trial.plan(2)
    assert trial.federation.refused(POINT, PhaseKind.CONTRIBUTE, plan, trial.inputs) == "epoch_mismatch"


def test_the_end_of_a_study_under_another_epoch_destroys_nothing() -> None:
    trial = make_trial()
    end = trial.federation.sign(COORDINATOR, envelope.STUDY_END, bytes([9]) * 32, context=trial.digest)
    assert trial.federation.refused(POINT, PhaseKind.CLOSE, end) == "epoch_mismatch"
    assert trial.federation.nodes[POINT].effects.secrets.epochs() == {trial.epoch_id}


def test_an_epoch_that_nobody_ended_ends_after_a_quarter() -> None:
    trial = make_trial(study__expires=NOW.date() + datetime.timedelta(days=365))
    begun = trial.begin()
    parts = trial.request(begun, POINT, contributors=ALL, openers=T)
    trial.federation.clock.at = NOW + datetime.timedelta(days=EPOCH_DAYS + 1)
    assert trial.federation.refused(POINT, PhaseKind.OPEN, *parts) == "epoch_mismatch"
    trial.federation.nodes[POINT].restart()
    assert trial.federation.nodes[POINT].effects.secrets.epochs() == frozenset()


def test_a_policy_that_was_tightened_holds_for_studies_begun_before() -> None:
    trial = make_trial(scheme=Scheme.PLAIN)
    node = trial.federation.nodes[POINT]
    node.with_policy(replace(OPEN_POLICY, max_epsilon_per_study=1e-3))
    request = trial.federation.sign(COORDINATOR, envelope.NONCE, b"", context=trial.digest, receiver=POINT)
    assert trial.federation.refused(POINT, PhaseKind.NONCE, request) == "study_refused"


def test_only_the_coordinator_ends_a_study(trial: Trial) -> None:
    for signer in (1, 3):
        end = trial.federation.sign(signer, envelope.STUDY_END, trial.epoch_id, context=trial.digest)
        assert trial.federation.refused(POINT, PhaseKind.CLOSE, end) == "signature_invalid"


def test_the_end_of_an_epoch_takes_its_keys_out_of_memory_too() -> None:
    trial = make_trial()
    begun = trial.begin()
    trial.federation.drive(end_epoch(identity_of(COORDINATOR), trial.federation.roster, trial.epoch_id))
    parts = trial.request(begun, POINT, contributors=ALL, openers=T)
    assert trial.federation.refused(POINT, PhaseKind.OPEN, *parts) == "epoch_mismatch"


def test_the_polynomials_of_an_epoch_are_counted_with_the_rehearsals() -> None:
    trial = make_trial()

    def opened(point: int) -> int:
        data = store_of(trial, point).get(epoch_key(trial.epoch_id))
        assert data is not None
        return EpochRecord.from_bytes(data).polynomials_opened

    rehearsed = {point: opened(point) for point in ALL}
    assert all(count >= 1 for count in rehearsed.values()), "every custodian rehearsed"
    trial.round(1)
    trial.round(2)
    assert {p: opened(p) - rehearsed[p] for p in ALL} == {1: 2, 2: 2, 3: 2, 4: 0}


def test_keys_of_a_ceremony_that_never_ended_do_not_survive_a_restart() -> None:
    trial = make_trial()
    node = trial.federation.nodes[POINT]
    half, unknown = bytes([7]) * 32, bytes([8]) * 32
    for epoch_id in (half, unknown):
        node.effects.secrets.put(epoch_id, b"keys")
    node.effects.store.commit(Batch(puts={epoch_key(half): EpochRecord(last_day=NOW.date()).to_bytes()}))
    node.restart()
    assert node.effects.secrets.epochs() == {trial.epoch_id, unknown}, "an unknown folder is left alone"


# --- the custodian itself ----------------------------------------------------------------------------


def test_contributions_and_answers_wait_for_the_tick_and_refusals_do_not() -> None:
    class Ticking(SetClock):
        ticks: ClassVar[list[float]] = []

        def wait_for_tick(self, tick_s: float) -> None:
            self.ticks.append(tick_s)

    trial = make_trial(scheme=Scheme.PLAIN)
    node = trial.federation.nodes[POINT]
    node.settings = replace(node.settings, response_tick_s=2.0)
    node.effects = replace(node.effects, clock=Ticking())
    node.restart()
    trial.ask_nonce(POINT)
    trial.federation.ask(POINT, PhaseKind.CONTRIBUTE, b"garbage")
    assert Ticking.ticks == []
    begun = trial.begin()
    trial.open(begun, contributors=ALL, openers=T)
    assert Ticking.ticks == [2.0, 2.0]


def test_one_question_at_a_time_however_many_ask() -> None:
    """Many threads ask for the same contribution: one is computed and charged, the others get its bytes."""
    trial = make_trial()
    plan, answers = trial.plan(), []

    def ask() -> None:
        answers.append(trial.federation.ask(POINT, PhaseKind.CONTRIBUTE, plan, trial.inputs))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({reply.parts for reply in answers}) == 1
    assert len(store_of(trial).ledger()) == 1


def test_a_custodian_that_is_not_in_the_roster_does_not_start() -> None:
    node = fresh_federation().nodes[POINT]
    stranger = replace(node.settings, identity=Identity.create("stranger"))
    with pytest.raises(MessageMalformed, match="not in the roster"):
        Custodian(stranger, node.effects)


def test_two_custodians_never_send_the_same_noise(trial: Trial) -> None:
    """Equal rows, equal plan: the contributions differ, and so do those of two attempts."""
    for point in (1, 2):
        trial.federation.nodes[point].with_source(small_source(1))
        trial.ask_nonce(point)
    plan = trial.plan()
    first, second = trial.contribute(1, plan), trial.contribute(2, plan)
    again = trial.contribute(1, trial.plan(1, 2))
    assert len({first[1:], second[1:], again[1:]}) == 3
