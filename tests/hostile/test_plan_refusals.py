"""Every refusal of a plan (PROTOCOL.md section 6), each with its own code.

| refusal | code | check |
|---|---|---|
| study never proposed | study_unknown | none can be taken away: there is nothing to compute |
| expired | study_expired | node_round.check_expiry |
| roster not the pinned one | roster_mismatch | node_round.check_roster |
| epoch not the study's | epoch_mismatch | node_round.check_epoch |
| plan not newer than the last | plan_not_newer | node_round.check_newer |
| round or attempt outside the study | plan_out_of_range | node_round.check_range |
| more repeated attempts than spare_attempts over all stages | plans_exhausted | node_round.check_count |
| nonce list outside the roster | set_malformed | node_round.check_points |
| own nonce absent, void or used | nonce_mismatch | node_round.check_nonce |
| inputs whose digest is not the plan's | inputs_mismatch | custodian.check_inputs |
| parameters not finite, above 2^40 or misshapen | parameters_unfit | inputs.check_*, check_parameters |
| layout, noise, kind or allowance not the own computation's | layout_mismatch | node_round.check_layout |
| a second contribution for an attempt | second_contribution | node_round.check_newer |
| first answered S lacks this node | no_longer_contributing | node_round.check_contributing |
| restored from a backup | restored_from_backup | node_round.check_restored |

Proposals are in `test_study_refusals`, openings in `test_opening_refusals`, envelopes in
`test_signed_messages`; what the attacks would win is in `test_attack_gains`.
"""

from __future__ import annotations

import contextlib
import datetime
import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from fedmed.errors import ProtocolError, all_errors
from fedmed.governance.policy import Policy
from fedmed.protocol.binding import inputs_digest
from fedmed.protocol.steps import PhaseKind
from fedmed.types import Mode, RoundKind, Scheme
from tests.attacks import Attack, Case, assert_needed, assert_refused
from tests.federation import (
    AGGREGATIONS,
    DATASET,
    SPARE_ATTEMPTS,
    Trial,
    UnreadableSource,
    make_federation,
    make_trial,
    no_check,
    small_study,
)

POINT = 2


def plain_trial(**changes: Any) -> Trial:
    return make_trial(scheme=Scheme.PLAIN, **changes)


def plan_attack(hostile: dict[str, Any]) -> Callable[[], Attack]:
    """A plan that differs from the honest one in the given fields."""

    def arrange() -> Attack:
        trial = plain_trial()
        return attack_with_plan(trial, trial.plan(**hostile))

    return arrange


def attack_with_plan(trial: Trial, plan: bytes, *, position: tuple[int, int] = (1, 1)) -> Attack:
    return Attack(
        trial=trial,
        point=POINT,
        kind=PhaseKind.CONTRIBUTE,
        hostile=(plan, trial.inputs),
        honest=lambda: (trial.plan(*position), trial.inputs),
    )


# --- plans -------------------------------------------------------------------------------------------


def expired() -> Attack:
    trial = plain_trial()
    trial.federation.clock.at = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)

    def honest() -> tuple[bytes, ...]:
        trial.federation.clock.at = datetime.datetime(2026, 12, 31, 23, 59, tzinfo=datetime.UTC)
        return trial.plan(), trial.inputs

    hostile = (trial.plan(), trial.inputs)
    return Attack(trial=trial, point=POINT, kind=PhaseKind.CONTRIBUTE, hostile=hostile, honest=honest)


def not_newer() -> Attack:
    trial = plain_trial()
    trial.begin(1, 2)
    return attack_with_plan(trial, trial.plan(1, 1), position=(2, 1))


def exhausted() -> Attack:
    """A second repeated attempt, where the study has one to spare."""
    trial = plain_trial()
    for position in ((1, 1), (1, 2), (2, 1)):
        trial.contribute(POINT, trial.plan(*position))
    return attack_with_plan(trial, trial.plan(2, 2), position=(3, 1))


def second_contribution() -> Attack:
    """Another plan for an attempt that has a contribution; the same plan gets the stored bytes."""
    trial = plain_trial()
    first = trial.plan()
    trial.contribute(POINT, first)
    attack = attack_with_plan(trial, trial.plan())
    return replace(attack, honest=lambda: (first, trial.inputs))


def void_nonce() -> Attack:
    """The nonce before the one that was asked for last."""
    trial = plain_trial()
    plan = trial.plan()
    trial.ask_nonce(POINT)
    return attack_with_plan(trial, plan)


def used_nonce() -> Attack:
    """The nonce that an accepted plan used up, in the plan of the next attempt."""
    trial = plain_trial()
    used = dict(trial.nonces)
    trial.contribute(POINT, trial.plan())
    return attack_with_plan(trial, trial.plan(1, 2, nonces=tuple(used.items())), position=(1, 2))


def nonce_list(change: Callable[[dict[int, bytes]], dict[int, bytes]]) -> Callable[[], Attack]:
    def arrange() -> Attack:
        trial = plain_trial()
        nonces = tuple(sorted(change(dict(trial.nonces)).items()))
        return attack_with_plan(trial, trial.plan(nonces=nonces))

    return arrange


def other_inputs() -> Attack:
    """Parameters that the signed plan does not name."""
    trial = plain_trial()
    inputs = struct.pack("<3d", 1.0, 2.0, 3.0)
    attack = attack_with_plan(trial, trial.plan())
    return replace(attack, hostile=(trial.plan(), inputs))


def parameters(values: list[float]) -> Callable[[], Attack]:
    """Parameters that the plan names and nobody should compute with."""

    def arrange() -> Attack:
        trial = plain_trial()
        inputs = struct.pack(f"<{len(values)}d", *values)
        attack = attack_with_plan(trial, trial.plan())
        return replace(attack, hostile=(trial.plan(inputs_digest=inputs_digest(inputs)), inputs))

    return arrange


def layout(**changes: Any) -> Callable[[], Attack]:
    def arrange() -> Attack:
        trial = plain_trial()
        return attack_with_plan(trial, trial.plan(layout=replace(trial.layout, **changes)))

    return arrange


def left_out() -> Attack:
    """A node that answered for a set without itself is asked to contribute again."""
    trial = plain_trial()
    begun = trial.begin(points=(1, 3, 4))
    trial.open(begun, contributors=(1, 3, 4), openers=(1, POINT, 3))
    return replace(attack_with_plan(trial, trial.plan(2)), honest=None)


def restored() -> Attack:
    trial = plain_trial()
    trial.federation.nodes[POINT].custodian.studies.mark_restored()
    return replace(attack_with_plan(trial, trial.plan()), honest=None)


ROUND = "fedmed.protocol.node_round."
DESK = "fedmed_nodes.study_desk."
CASES = (
    Case(code="study_expired", what="a day late", arrange=expired, checks=(ROUND + "check_expiry",)),
    Case(
        code="roster_mismatch",
        what="plan under another roster",
        arrange=plan_attack({"roster_digest": bytes(32)}),
        checks=(ROUND + "check_roster",),
    ),
    Case(
        code="epoch_mismatch",
        what="plan of another epoch",
        arrange=plan_attack({"epoch_id": bytes([1]) * 32}),
        checks=(ROUND + "check_epoch",),
    ),
    Case(
        code="plan_not_newer", what="an earlier attempt", arrange=not_newer, checks=(ROUND + "check_newer",)
    ),
    *(
        Case(
            code="plan_out_of_range",
            what=f"round {r} attempt {a}",
            arrange=plan_attack({"round_number": r, "attempt": a}),
            # A round that the study does not have has no stage, so there is nothing to compute; the
            # ledger's own record refuses an attempt below 1 as well, by another error.
            checks=(ROUND + "check_range",) if 1 <= r <= AGGREGATIONS and a else (),
        )
        for r, a in ((AGGREGATIONS + 1, 1), (0, 1), (1, 2 + SPARE_ATTEMPTS), (1, 0))
    ),
    Case(
        code="plans_exhausted", what="one plan too many", arrange=exhausted, checks=(ROUND + "check_count",)
    ),
    Case(
        code="set_malformed",
        what="a nonce of nobody",
        arrange=nonce_list(lambda nonces: {**nonces, 9: bytes(16)}),
        checks=(ROUND + "check_points",),
    ),
    Case(
        code="nonce_mismatch",
        what="own nonce absent",
        arrange=nonce_list(lambda nonces: {p: n for p, n in nonces.items() if p != POINT}),
        checks=(ROUND + "check_nonce",),
    ),
    Case(
        code="nonce_mismatch",
        what="another's nonce in its place",
        arrange=nonce_list(lambda nonces: {**nonces, POINT: nonces[1]}),
        checks=(ROUND + "check_nonce",),
    ),
    Case(code="nonce_mismatch", what="a void nonce", arrange=void_nonce, checks=(ROUND + "check_nonce",)),
    Case(code="nonce_mismatch", what="a used nonce", arrange=used_nonce, checks=(ROUND + "check_nonce",)),
    Case(
        code="inputs_mismatch",
        what="other parameters",
        arrange=other_inputs,
        checks=("fedmed_nodes.custodian.check_inputs",),
    ),
    *(
        Case(
            code="parameters_unfit",
            what=f"a parameter of {value:g}",
            arrange=parameters([0.0, value, 0.0]),
            # The gradients check them again, but after the debit.
            checks=(
                "fedmed_nodes.inputs.check_finite",
                "fedmed_nodes.answers.training.check_parameters",
                "fedmed.models.gradients.check_parameters",
            ),
        )
        for value in (float("nan"), float("inf"), float("-inf"), 2.0**40 * 1.0001, 1e308)
    ),
    *(
        Case(
            code="layout_mismatch",
            what=f"layout with {name} {value}",
            arrange=layout(**{name: value}),
            checks=(ROUND + "check_layout",),
        )
        for name, value in (
            ("grid", 1.0),
            ("limit", 1),
            ("tail", 0),
            ("values", 4),
            ("field_bits", 40),
            ("fields", 1),
            ("parameter_set", "t8"),
            ("noise_scale", 8.0),
        )
    ),
    *(
        Case(
            code="layout_mismatch",
            what=f"plan with {name} {value}",
            arrange=plan_attack({name: value}),
            checks=(ROUND + "check_layout",),
        )
        for name, value in (
            ("planned_contributors", 3),
            ("dropouts", 0),
            ("colluders", 0),
            ("kind", RoundKind.REHEARSAL),
        )
    ),
    Case(
        code="second_contribution",
        what="another plan for an attempt",
        arrange=second_contribution,
        checks=(ROUND + "check_newer",),
    ),
    Case(
        code="no_longer_contributing",
        what="the set answered lacks this node",
        arrange=left_out,
        checks=(ROUND + "check_contributing",),
    ),
    Case(
        code="restored_from_backup",
        what="the operator restored a backup",
        arrange=restored,
        checks=(ROUND + "check_restored",),
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_hostile_plan_is_refused_with_its_own_code_and_changes_nothing(case: Case) -> None:
    assert_refused(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.checks], ids=str)
def test_without_its_check_the_hostile_plan_is_accepted(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    assert_needed(case, monkeypatch)


def test_every_refusal_of_the_protocol_has_a_row_or_a_reason() -> None:
    """Rows are here and in `test_opening_refusals`; the rest cannot be reached by a plan or an opening."""
    elsewhere = {
        "protocol_error": "the branch itself",
        "message_malformed": "test_signed_messages",
        "wrong_receiver": "test_signed_messages",
        "study_unknown": "test_study_refusals, and the tests below",
        "ceremony_stopped": "the ceremony's own hostile tests",
        "differencing_refused": "tests/nodes/test_differencing.py",
        "study_ended": "tests/nodes/test_canary_desk.py",
        "plan_not_accepted": "test_opening_refusals",
        "second_opening": "test_opening_refusals",
        "set_too_small": "test_opening_refusals",
        "openers_miscounted": "test_opening_refusals",
        "header_missing": "test_opening_refusals",
        "header_plan_mismatch": "test_opening_refusals",
        "header_not_mine": "test_opening_refusals",
        "chunk_outside_plan": "test_opening_refusals",
        "set_changed": "test_opening_refusals",
        "epoch_exhausted": "test_opening_refusals",
    }
    known = {code for code, error in all_errors().items() if issubclass(error, ProtocolError)}
    assert known == (known & {case.code for case in CASES}) | set(elsewhere)


def test_no_policy_that_says_nothing_allows_questions_whose_differences_would_tell() -> None:
    policy = Policy(max_epsilon_per_study=1.0, max_epsilon_per_year=1.0)
    assert policy.modes == {Mode.AGGREGATE}, "statistics need the differencing clause of section 6"


def test_a_study_that_was_never_proposed_is_unknown() -> None:
    trial = plain_trial()
    plan = trial.plan(study_digest=bytes([7]) * 32)
    assert trial.federation.refused(POINT, PhaseKind.CONTRIBUTE, plan, trial.inputs) == "study_unknown"


@pytest.mark.parametrize("values", [[], [0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
def test_misshapen_parameters_are_refused_before_the_debit(values: list[float]) -> None:
    attack = parameters(values)()
    federation = attack.trial.federation
    assert federation.refused(POINT, attack.kind, *attack.hostile) == "parameters_unfit"
    half = attack.trial.inputs[:-1]
    plan = attack.trial.plan(inputs_digest=inputs_digest(half))
    assert federation.refused(POINT, attack.kind, plan, half) == "message_malformed"


def test_without_the_check_misshapen_parameters_are_charged(monkeypatch: pytest.MonkeyPatch) -> None:
    attack = parameters([0.0])()
    for name in ("fedmed_nodes.inputs.check_shape", "fedmed_nodes.answers.training.check_parameters"):
        monkeypatch.setattr(name, no_check)
    reply = attack.trial.federation.ask(POINT, attack.kind, *attack.hostile)
    assert reply.code == "parameters_unfit", "the gradients refuse them as well"
    assert len(attack.trial.federation.nodes[POINT].effects.store.ledger()) == 1


def test_a_plan_after_the_keys_were_destroyed_is_refused_before_the_debit() -> None:
    trial = make_trial()
    node = trial.federation.nodes[POINT]
    node.effects.secrets.destroy(trial.epoch_id)
    attack = attack_with_plan(trial, trial.plan())
    assert trial.federation.refused(POINT, attack.kind, *attack.hostile) == "epoch_mismatch"


# --- rows --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=str)
def test_no_refusal_reads_a_row(case: Case) -> None:
    attack = case.arrange()
    node, rows = attack.trial.federation.nodes[POINT], UnreadableSource()
    nonces = dict(node.custodian._nonces)
    node.settings = replace(node.settings, datasets={DATASET: rows})
    node.restart()
    node.custodian._nonces.update(nonces)  # a restart voids nonces; the attack is about something else
    assert attack.trial.federation.ask(POINT, attack.kind, *attack.hostile).code == case.code
    assert rows.reads == 0


def test_one_plan_too_many_would_spend_more_than_was_reserved(monkeypatch: pytest.MonkeyPatch) -> None:
    attack = exhausted()
    monkeypatch.setattr(ROUND + "check_count", no_check)
    attack.trial.contribute(POINT, attack.hostile[0])
    attack.trial.contribute(POINT, attack.trial.plan(3, 1))
    charged = attack.trial.federation.nodes[POINT].effects.store.ledger()
    assert len(charged) == attack.trial.schedule.releases + 1


TWO_STAGES: dict[str, Any] = {"report__evaluation_epsilon": 0.5, "data__held_out": 0.25}


def charged_for_training(skip: int) -> tuple[int, int]:
    """Training charges of one custodian that is asked for all it accepts, and what was reserved for them.

    Args:
        skip: Training rounds that are passed over first.
    """
    trial = Trial(make_federation(scheme=Scheme.PLAIN), small_study(scheme=Scheme.PLAIN, **TWO_STAGES))
    trial.propose()
    training = trial.schedule.stages[0]
    for number in range(1 + skip, training.rounds + 1):
        for attempt in range(1, 2 + SPARE_ATTEMPTS):
            with contextlib.suppress(AssertionError):
                trial.contribute(POINT, trial.plan(number, attempt))
    charged = trial.federation.nodes[POINT].effects.store.ledger()
    return len(charged), training.rounds + SPARE_ATTEMPTS


@pytest.mark.slow
def test_rounds_of_a_stage_that_is_left_out_are_no_attempts_of_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The plan that an evaluation leaves free would be a training release that nobody reserved."""
    most, reserved = charged_for_training(0)
    assert most == reserved
    most, reserved = charged_for_training(1)
    assert most == reserved - 1
    monkeypatch.setattr(ROUND + "check_count", no_check)
    most, reserved = charged_for_training(0)
    assert most > reserved
