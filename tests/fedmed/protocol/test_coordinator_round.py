"""The coordinator's half of a round, driven by hand: what it does about losses, garbage and silence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from fedmed import wire
from fedmed.errors import (
    BudgetExceeded,
    IntegrityError,
    OpeningOutOfBounds,
    PlansExhausted,
    TooFewNodes,
)
from fedmed.messages import Answer, Header
from fedmed.protocol import envelope
from fedmed.protocol.binding import payload_digest, plan_digest
from fedmed.protocol.coordinator_round import Opened, Standing, aggregate, propose
from fedmed.protocol.steps import Phase, PhaseKind, Reply
from fedmed.types import IntArray, Scheme
from tests.federation import (
    COORDINATOR,
    OPEN_POLICY,
    SPARE_ATTEMPTS,
    Trial,
    insecure_no_noise,
    make_trial,
    unaltered,
    untouched,
)

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

ALL = (1, 2, 3, 4)


@dataclass
class Watched:
    """Drives rounds of one trial and keeps the names of the phases and whom they asked."""

    trial: Trial
    standing: Standing = field(init=False)
    phases: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.standing = self.trial.standing

    def round(self, number: int, *, tamper: Any = untouched, garble: Any = unaltered) -> Opened:
        """One round with hooks; remembers the coordinator's standing."""

        def watched(phase: Phase, point: int, parts: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
            if not self.phases or self.phases[-1] != (phase.name, tuple(phase.requests)):
                self.phases.append((phase.name, tuple(phase.requests)))
            sent: tuple[bytes, ...] | None = tamper(phase, point, parts)
            return sent

        steps = aggregate(self.trial.desk, self.standing, round_number=number, inputs=self.trial.inputs)
        opened, self.standing = self.trial.federation.drive(steps, tamper=watched, garble=garble)
        return opened

    def charges(self) -> list[int]:
        """Debits of each node."""
        nodes = self.trial.federation.nodes
        return [len(nodes[point].effects.store.ledger()) for point in ALL]


def watched(*, scheme: Scheme = Scheme.PLAIN, **changes: Any) -> Watched:
    return Watched(make_trial(scheme=scheme, **changes))


def loses(point: int, kind: PhaseKind, *, times: int = 1000) -> Callable[..., tuple[bytes, ...] | None]:
    """Requests of one kind to one node that never arrive."""
    left = [times]

    def tamper(phase: Phase, to: int, parts: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
        if phase.kind is kind and to == point and left[0] > 0:
            left[0] -= 1
            return None
        return parts

    return tamper


def silent(point: int) -> Callable[..., tuple[bytes, ...] | None]:
    """A node that nothing reaches."""
    return lambda phase, to, parts: None if to == point else parts


def replies(
    point: int, kind: PhaseKind, change: Callable[[Reply], Reply | None], *, times: int = 1000
) -> Any:
    """Replies of one kind from one node that are changed on the way, or lost."""
    left = [times]

    def garble(phase: Phase, sender: int, reply: Reply) -> Reply | None:
        if phase.kind is kind and sender == point and left[0] > 0 and not reply.is_refusal:
            left[0] -= 1
            return change(reply)
        return reply

    return garble


# --- an honest round ---------------------------------------------------------------------------------


def test_an_honest_round_takes_two_phases_and_opens_the_sum_of_everybody() -> None:
    clear, ring = watched(noise=insecure_no_noise), watched(scheme=Scheme.THRESHOLD, noise=insecure_no_noise)
    first, second = clear.round(1), ring.round(1)
    np.testing.assert_array_equal(first.fields, second.fields)
    for run, opened in ((clear, first), (ring, second)):
        assert (opened.contributors, opened.openers, opened.attempts) == (ALL, (1, 2, 3), 1)
        assert run.phases == [("contribute", ALL), ("open", (1, 2, 3))]
        assert run.charges() == [1, 1, 1, 1]
        assert run.standing.fixed_set == ALL
        assert set(run.standing.nonces) == set(ALL), "the next nonces rode on headers and answers"


def test_the_next_round_needs_no_nonce_phase() -> None:
    run = watched()
    run.round(1)
    run.round(2)
    assert [name for name, _ in run.phases] == ["contribute", "open"] * 2


def test_preferred_points_answer_and_others_fill_up() -> None:
    run = watched()
    steps = aggregate(run.trial.desk, run.standing, round_number=1, inputs=run.trial.inputs, prefer=(4, 2))
    opened, _ = run.trial.federation.drive(steps)
    assert opened.openers == (1, 2, 4)


# --- losses before the first answer ------------------------------------------------------------------


@pytest.mark.parametrize("on_dropout", ["stop", "continue"])
def test_a_node_lost_before_contributing_is_covered_by_the_allowance(on_dropout: str) -> None:
    run = watched(aggregation__on_dropout=on_dropout)
    opened = run.round(1, tamper=loses(4, PhaseKind.CONTRIBUTE))
    assert (opened.contributors, opened.attempts) == ((1, 2, 3), 1)
    assert run.standing.lost == {4: "node_lost"}
    assert run.charges() == [1, 1, 1, 0]


def test_two_losses_are_more_than_the_allowance() -> None:
    run = watched()
    both = [loses(p, PhaseKind.CONTRIBUTE) for p in (3, 4)]

    def tamper(phase: Phase, point: int, parts: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
        return both[1](phase, point, parts) if both[0](phase, point, parts) else None

    with pytest.raises(TooFewNodes, match=r"node3 \(node_lost\), node4 \(node_lost\)"):
        run.round(1, tamper=tamper)
    assert all(name != "open" for name, _ in run.phases), "nothing was opened"
    assert run.charges() == [1 + SPARE_ATTEMPTS] * 2 + [0, 0]


def test_a_node_that_is_silent_from_the_start_gives_no_nonce_and_stops_nothing_within_the_allowance() -> None:
    run = watched()
    run.standing = Standing()
    opened = run.round(1, tamper=silent(4))
    assert opened.contributors == (1, 2, 3)
    assert run.phases[0] == ("nonce", ALL)
    assert ("contribute", (1, 2, 3)) in run.phases


def test_too_few_nodes_stop_the_round_before_anybody_is_debited() -> None:
    run = watched()
    run.standing = Standing()
    with pytest.raises(TooFewNodes, match="3 openers, 2 and 2 are there"):
        run.round(1, tamper=lambda phase, point, parts: None if point in (3, 4) else parts)
    assert run.charges() == [0, 0, 0, 0]


# --- losses after the first answer -------------------------------------------------------------------


def test_with_stop_a_contributor_that_is_gone_ends_the_study_before_any_debit() -> None:
    run = watched()
    run.round(1)
    run.standing = run.standing.without(4, "node_lost")
    with pytest.raises(TooFewNodes, match="on_dropout is stop"):
        run.round(2, tamper=silent(4))
    assert run.charges() == [1, 1, 1, 1]


def test_with_stop_a_contribution_lost_on_the_way_costs_an_attempt_and_the_same_set_returns() -> None:
    run = watched()
    run.round(1)
    opened = run.round(2, tamper=loses(4, PhaseKind.CONTRIBUTE, times=1))
    assert (opened.contributors, opened.attempts) == (ALL, 2)
    assert run.charges() == [3, 3, 3, 2]
    assert ("nonce", (4,)) in run.phases


def test_with_continue_the_study_goes_on_without_a_lost_contributor() -> None:
    run = watched(aggregation__on_dropout="continue")
    run.round(1)
    opened = run.round(2, tamper=silent(4))
    assert (opened.contributors, opened.attempts) == ((1, 2, 3), 1)
    opened = run.round(3)
    assert opened.contributors == (1, 2, 3), "a set never grows again"
    assert run.charges() == [3, 3, 3, 1]


def test_an_opener_lost_after_the_set_was_fixed_costs_a_new_attempt_over_the_same_set() -> None:
    run = watched(scheme=Scheme.THRESHOLD, noise=insecure_no_noise)
    opened = run.round(1, tamper=loses(3, PhaseKind.OPEN, times=1))
    assert (opened.contributors, opened.attempts) == (ALL, 2)
    assert run.charges() == [2, 2, 2, 2], "the first attempt may have been opened: it is charged"
    expected = watched(noise=insecure_no_noise).round(1)
    np.testing.assert_array_equal(opened.fields, expected.fields)


def test_an_opener_whose_answer_was_lost_gives_a_new_nonce_and_answers_the_next_attempt() -> None:
    run = watched(scheme=Scheme.THRESHOLD)
    opened = run.round(1, garble=replies(2, PhaseKind.OPEN, lambda reply: None, times=1))
    assert opened.attempts == 2
    assert ("nonce", (2,)) in run.phases


def test_a_node_outside_the_set_only_answers_and_is_not_charged() -> None:
    run = watched(scheme=Scheme.THRESHOLD)
    first = run.round(1, tamper=loses(4, PhaseKind.CONTRIBUTE))
    assert first.contributors == (1, 2, 3)
    steps = aggregate(run.trial.desk, run.standing, round_number=2, inputs=run.trial.inputs, prefer=(4,))
    second, _ = run.trial.federation.drive(steps)
    assert (second.contributors, second.openers) == ((1, 2, 3), (1, 2, 4))
    assert run.charges() == [2, 2, 2, 0]


def test_a_lost_opener_that_never_comes_back_ends_the_round() -> None:
    run = watched()
    with pytest.raises(TooFewNodes):
        run.round(1, tamper=loses(3, PhaseKind.OPEN))
    assert run.charges() == [2, 2, 2, 2]


def test_a_study_never_sends_more_plans_than_it_declared() -> None:
    run = watched()
    run.round(1, tamper=loses(3, PhaseKind.OPEN, times=1))
    assert run.standing.plans == 2
    with pytest.raises(PlansExhausted, match="all 1 spare attempts"):
        run.round(2, tamper=loses(3, PhaseKind.OPEN, times=1))
    assert run.charges() == [3, 3, 3, 3]


# --- garbage -----------------------------------------------------------------------------------------


def altered_chunk(reply: Reply) -> Reply:
    chunk = reply.parts[1]
    return replace(reply, parts=(reply.parts[0], bytes([chunk[0] ^ 1]) + chunk[1:]))


def resigned(trial: Trial, point: int, chunks: tuple[bytes, ...], reply: Reply) -> Reply:
    """Other chunks with a header that their sender did sign."""
    statement = wire.decode_statement(wire.decode_signed(reply.parts[0]).body)
    header = Header(chunk_digests=tuple(map(payload_digest, chunks)), next_nonce=bytes(16))
    signed = trial.federation.sign(
        point,
        envelope.HEADER,
        wire.encode_header(header),
        context=statement.context,
        receiver=COORDINATOR,
    )
    return Reply(parts=(signed, *chunks))


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("altered", "digest_mismatch"),
        ("short", "ciphertext_malformed"),
        ("out of range", "ciphertext_malformed"),
        ("no chunk", "digest_mismatch"),
        ("another number", "chunk_outside_plan"),
        ("no header", "message_malformed"),
        ("another's header", "signature_invalid"),
    ],
)
def test_a_contribution_that_does_not_hold_counts_as_lost_and_is_named(what: str, code: str) -> None:
    run = watched(scheme=Scheme.THRESHOLD, noise=insecure_no_noise)
    trial, other = run.trial, make_trial(noise=insecure_no_noise)
    used = 28 * trial.layout.coefficients
    changes: dict[str, Callable[[Reply], Reply]] = {
        "altered": altered_chunk,
        "short": lambda reply: resigned(trial, 4, (bytes(used - 1),), reply),
        "out of range": lambda reply: resigned(trial, 4, (b"\xff" * used,), reply),
        "no chunk": lambda reply: replace(reply, parts=reply.parts[:1]),
        "another number": lambda reply: resigned(trial, 4, (bytes(used),) * 2, reply),
        "no header": lambda reply: replace(reply, parts=(b"garbage", *reply.parts[1:])),
        "another's header": lambda reply: replace(resigned(trial, 3, (bytes(used),), reply)),
    }
    opened = run.round(1, garble=replies(4, PhaseKind.CONTRIBUTE, changes[what]))
    assert opened.contributors == (1, 2, 3)
    assert run.standing.lost == {4: code}
    begun = other.begin(points=(1, 2, 3))
    answers = other.open(begun, contributors=(1, 2, 3), openers=(1, 2, 3))
    expected = other.combine(list(begun.contributions.values()), list(answers.values()))
    np.testing.assert_array_equal(opened.fields, expected, "garbage left nothing in the sum")


def test_a_contribution_to_an_earlier_attempt_counts_as_lost() -> None:
    run = watched()
    late: list[Reply] = []

    def keep(reply: Reply) -> Reply | None:
        late.append(reply)
        return None if len(late) == 1 else late[0]

    # The first attempt finds two contributions; node 4's comes when the second one is asked for.
    opened = run.round(
        1,
        tamper=loses(3, PhaseKind.CONTRIBUTE, times=1),
        garble=replies(4, PhaseKind.CONTRIBUTE, keep),
    )
    assert (opened.contributors, opened.attempts) == ((1, 2, 3), 2)
    assert run.standing.lost == {4: "header_plan_mismatch"}


@pytest.mark.parametrize("what", ["altered", "other set", "silent", "refusal"])
def test_an_answer_that_does_not_hold_costs_a_new_attempt(what: str) -> None:
    run = watched(scheme=Scheme.THRESHOLD, noise=insecure_no_noise)
    trial = run.trial

    def other_set(reply: Reply) -> Reply:
        statement = wire.decode_statement(wire.decode_signed(reply.parts[0]).body)
        answer = replace(wire.decode_answer(statement.content), contributors=(1, 2, 3))
        signed = trial.federation.sign(
            2, envelope.ANSWER, wire.encode_answer(answer), context=statement.context, receiver=COORDINATOR
        )
        return Reply(parts=(signed, *reply.parts[1:]))

    changes: dict[str, Callable[[Reply], Reply | None]] = {
        "altered": altered_chunk,
        "other set": other_set,
        "silent": lambda reply: None,
        "refusal": lambda reply: Reply(code="set_changed"),
    }
    opened = run.round(1, garble=replies(2, PhaseKind.OPEN, changes[what], times=1))
    assert opened.attempts == 2
    expected = watched(noise=insecure_no_noise).round(1)
    np.testing.assert_array_equal(opened.fields, expected.fields)


def test_a_validly_signed_false_share_is_never_taken_for_a_sum() -> None:
    """Threshold detects no false share by itself: the opened noise is out of bounds."""
    run = watched(scheme=Scheme.THRESHOLD)
    trial = run.trial
    used = 28 * trial.layout.coefficients

    def false_share(reply: Reply) -> Reply:
        statement = wire.decode_statement(wire.decode_signed(reply.parts[0]).body)
        zeros = bytes(used)
        answer = Answer(
            contributors=ALL, openers=(1, 2, 3), chunk_digests=(payload_digest(zeros),), next_nonce=bytes(16)
        )
        signed = trial.federation.sign(
            2, envelope.ANSWER, wire.encode_answer(answer), context=statement.context, receiver=COORDINATOR
        )
        return Reply(parts=(signed, zeros))

    with pytest.raises(OpeningOutOfBounds):
        run.round(1, garble=replies(2, PhaseKind.OPEN, false_share))


# --- proposal and nonces -----------------------------------------------------------------------------


def proposing(trial: Trial, **hooks: Any) -> Standing:
    content = wire.decode_statement(wire.decode_signed(trial.proposal()).body).content
    return trial.federation.drive(propose(trial.desk, content), **hooks)


def test_no_study_starts_without_every_custodian() -> None:
    trial = make_trial(scheme=Scheme.PLAIN)
    assert set(proposing(trial).nonces) == set(ALL)
    with pytest.raises(TooFewNodes, match="node3 did not answer"):
        proposing(trial, tamper=silent(3))
    limit = replace(OPEN_POLICY, max_epsilon_per_study=0.5, max_epsilon_per_year=0.5)
    trial.federation.nodes[2].with_policy(limit)
    with pytest.raises(BudgetExceeded, match="node2 refused the study"):
        proposing(trial)


def test_a_nonce_that_its_custodian_did_not_sign_is_refused() -> None:
    trial = make_trial(scheme=Scheme.PLAIN)
    kept: list[Reply] = []

    def swap(phase: Phase, point: int, reply: Reply) -> Reply:
        kept.append(reply)
        return kept[0]

    with pytest.raises(IntegrityError, match="node2 sent a nonce that does not hold"):
        proposing(trial, garble=swap)


def test_a_nonce_that_does_not_hold_counts_as_lost_in_a_round() -> None:
    run = watched()
    run.standing = Standing()
    opened = run.round(
        1, garble=replies(4, PhaseKind.NONCE, lambda reply: replace(reply, parts=(b"garbage",)))
    )
    assert opened.contributors == (1, 2, 3)
    assert run.standing.lost == {4: "message_malformed"}


def test_a_restarted_custodian_gets_a_plan_with_its_new_nonce_when_it_was_silent() -> None:
    run = watched()
    run.round(1)
    run.trial.federation.nodes[4].restart()
    run.standing = run.standing.without(4, "node_lost")
    opened = run.round(2)
    assert (opened.contributors, opened.attempts) == (ALL, 1), "a restart between attempts costs none"
    assert run.charges() == [2, 2, 2, 2]


def test_plans_differ_in_every_attempt() -> None:
    run = watched()
    plans: set[bytes] = set()

    def note(phase: Phase, point: int, parts: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
        if phase.kind is PhaseKind.CONTRIBUTE:
            plans.add(plan_digest(parts[0]))
        return loses(3, PhaseKind.OPEN)(phase, point, parts)

    with pytest.raises(TooFewNodes):
        run.round(1, tamper=note)
    assert len(plans) == 1 + SPARE_ATTEMPTS


def test_integers_are_opened_as_they_were_sent() -> None:
    """Noise on: what opens is what the four contributions hold, to the last bit."""
    run = watched()
    sent: list[IntArray] = []

    def read(phase: Phase, point: int, reply: Reply) -> Reply:
        if phase.kind is PhaseKind.CONTRIBUTE:
            sent.append(np.frombuffer(b"".join(reply.parts[1:]), dtype="<u8").astype(np.int64))
        return reply

    opened = run.round(1, garble=read)
    np.testing.assert_array_equal(opened.fields.astype(np.int64), np.sum(sent, axis=0))
