"""Every refusal of an opening request (PROTOCOL.md section 6), each with its own code.

| refusal | code | check |
|---|---|---|
| plan accepted before a restart | plan_not_accepted | node_round.check_accepted |
| superseded plan | plan_not_newer | node_round.check_newer |
| S or T not strictly increasing inside the nonce list | set_malformed | node_round.check_sets |
| S too small | set_too_small | node_round.check_set_size |
| T not of threshold size, or without this node | openers_miscounted | node_round.check_openers |
| a header missing or too many | header_missing | node_round.check_header_count |
| a header not signed by its member | signature_invalid | envelope.check_signature |
| a header of another plan | header_plan_mismatch | binding.check_header_plan |
| a header with another number of chunks | chunk_outside_plan | binding.check_header_chunks |
| own header not byte-equal to the stored one | header_not_mine | node_round.check_own_header |
| a second (S, T) or other headers for an attempt | second_opening | node_round.check_single_opening |
| S not the first one; not inside the last one (continue) | set_changed | node_round.check_same_set |
| more polynomials than the epoch allows | epoch_exhausted | node_round.check_polynomials |
| restored from a backup | restored_from_backup | node_round.check_restored |
| expired | study_expired | node_round.check_expiry |
| what a plan is refused for, given with the headers | as in `test_plan_refusals` | the same |

The cases use scheme ``plain`` where the ring would refuse the same sets once more (`ThresholdContributor`).
Restores that nobody declared are in `test_rollback`.
"""

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from fedmed import wire
from fedmed.crypto.parameters import MAX_POLYNOMIALS_PER_EPOCH
from fedmed.errors import SetMalformed
from fedmed.messages import Header
from fedmed.protocol import envelope
from fedmed.protocol.steps import PhaseKind
from fedmed.types import Scheme
from fedmed_nodes.ceremony_desk import EpochRecord, epoch_key
from fedmed_nodes.stores import Batch
from tests.attacks import Attack, Case, assert_needed, assert_refused, forged, header_by_hand
from tests.federation import (
    NOW,
    Attempt,
    Trial,
    make_trial,
)

POINT = 2
ALL = (1, 2, 3, 4)
T = (1, 2, 3)


def plain_trial(**changes: Any) -> Trial:
    return make_trial(scheme=Scheme.PLAIN, **changes)


def opening(
    trial: Trial,
    attempt: Attempt,
    *,
    contributors: Sequence[int] = ALL,
    openers: Sequence[int] = T,
    headers: Sequence[bytes] | None = None,
    honest: Callable[[], tuple[bytes, ...]] | None = None,
) -> Attack:
    """An opening request for these sets; the honest one names everybody and the first three."""

    def everybody() -> tuple[bytes, ...]:
        return trial.request(attempt, POINT, contributors=ALL, openers=T)

    hostile = trial.request(attempt, POINT, contributors=contributors, openers=openers, headers=headers)
    return Attack(trial=trial, point=POINT, kind=PhaseKind.OPEN, hostile=hostile, honest=honest or everybody)


def other_sets(**sets: Any) -> Attack:
    trial = plain_trial()
    return opening(trial, trial.begin(), **sets)


def outside_the_nonce_list(*, name: str) -> Attack:
    """S or T names a roster point that gave no nonce to this plan; its header is validly signed."""
    trial = plain_trial()
    del trial.nonces[4]
    begun = trial.begin(points=(1, 2, 3))
    headers = {4: (header_by_hand(trial, 4, begun.plan),)}
    attempt = Attempt(plan=begun.plan, contributions={**begun.contributions, **headers})
    sets: dict[str, Any] = {"contributors": (1, 2, 3), "openers": T}
    hostile: dict[str, Any] = {**sets, name: (1, 2, 3, 4) if name == "contributors" else (1, 2, 4)}
    honest = functools.partial(trial.request, attempt, POINT, **sets)
    return opening(trial, attempt, **hostile, honest=honest)


def other_headers(change: Callable[[list[bytes], Trial, Attempt], list[bytes]]) -> Callable[[], Attack]:
    def arrange() -> Attack:
        trial = plain_trial()
        begun = trial.begin()
        return opening(trial, begun, headers=change(list(begun.headers(ALL)), trial, begun))

    return arrange


def with_third(headers: list[bytes], header: bytes) -> list[bytes]:
    return [*headers[:2], header, headers[3]]


def earlier_header() -> Attack:
    """Node 3's own, honest header of the attempt before."""
    trial = plain_trial()
    earlier = trial.begin(1, 1)
    begun = trial.begin(1, 2)
    headers = with_third(list(begun.headers(ALL)), earlier.headers((3,))[0])
    return opening(trial, begun, headers=headers)


def foreign_signature(headers: list[bytes], trial: Trial, attempt: Attempt) -> list[bytes]:
    """Node 4 signs a header that says it is node 3's."""
    content = wire.encode_header(Header(chunk_digests=(bytes(32),), next_nonce=bytes(16)))
    coordinator = trial.federation.roster.coordinator.name
    header = forged(
        envelope.HEADER, content, signer=4, sender=3, receiver=coordinator, context=attempt.digest
    )
    return with_third(headers, header)


def chunked_header(headers: list[bytes], trial: Trial, attempt: Attempt, *, count: int) -> list[bytes]:
    """Node 3's own header, with another number of chunks than the layout has."""
    return with_third(headers, header_by_hand(trial, 3, attempt.plan, chunk_digests=(bytes(32),) * count))


def other_own_header(headers: list[bytes], trial: Trial, attempt: Attempt) -> list[bytes]:
    """Another header that this custodian's key signed; its place in the audit chain is a real one."""
    mine = header_by_hand(trial, POINT, attempt.plan)
    return [headers[0], mine, *headers[2:]]


def never_contributed() -> Attack:
    """A header of its own for a custodian that only answers."""
    trial = plain_trial()
    begun = trial.begin(points=(1, 3, 4))
    header = (header_by_hand(trial, POINT, begun.plan),)
    attempt = Attempt(plan=begun.plan, contributions={**begun.contributions, POINT: header})
    honest = functools.partial(trial.request, attempt, POINT, contributors=(1, 3, 4), openers=T)
    return opening(trial, attempt, honest=honest)


def restarted() -> Attack:
    trial = plain_trial()
    begun = trial.begin()
    trial.federation.nodes[POINT].restart()

    def honest() -> tuple[bytes, ...]:
        trial.ask_nonce(POINT)
        return trial.request(trial.begin(1, 2), POINT, contributors=ALL, openers=T)

    return opening(trial, begun, honest=honest)


def superseded() -> Attack:
    trial = plain_trial()
    earlier, later = trial.begin(1, 1), trial.begin(1, 2)
    honest = functools.partial(trial.request, later, POINT, contributors=ALL, openers=T)
    return opening(trial, earlier, honest=honest)


def answered(trial: Trial, contributors: Sequence[int] = ALL) -> Attempt:
    begun = trial.begin()
    trial.open(begun, contributors=contributors, openers=T)
    return begun


def second_openers() -> Attack:
    trial = plain_trial()
    return opening(trial, answered(trial), openers=(2, 3, 4))


def second_headers() -> Attack:
    """A colluding contributor signed two headers for one plan: the masks would no longer cancel."""
    trial = plain_trial()
    begun = answered(trial)
    other = header_by_hand(trial, 3, begun.plan, chunk_digests=(bytes([1]) * 32,))
    return opening(trial, begun, headers=with_third(list(begun.headers(ALL)), other))


def later_set(
    first: Sequence[int], second: Sequence[int], honest: Sequence[int], *, on_dropout: str
) -> Callable[[], Attack]:
    """The set of round 2 after the set of round 1."""

    def arrange() -> Attack:
        trial = plain_trial(aggregation__on_dropout=on_dropout)
        answered(trial, first)
        plan = trial.plan(2)
        headers = {p: (header_by_hand(trial, p, plan),) for p in ALL if p != POINT}
        begun = Attempt(plan=plan, contributions={**headers, POINT: trial.contribute(POINT, plan)})
        asked = functools.partial(trial.request, begun, POINT, contributors=honest, openers=T)
        return opening(trial, begun, contributors=second, honest=asked)

    return arrange


def exhausted() -> Attack:
    """One polynomial is left in the study; the epoch has opened all that its smudging allows."""
    trial = make_trial()
    begun = trial.begin()
    store = trial.federation.nodes[POINT].effects.store

    def opened_so_far(polynomials: int) -> None:
        record = EpochRecord(is_active=True, polynomials_opened=polynomials, last_day=NOW.date())
        store.commit(Batch(puts={epoch_key(trial.epoch_id): record.to_bytes()}))

    def honest() -> tuple[bytes, ...]:
        opened_so_far(MAX_POLYNOMIALS_PER_EPOCH - 1)
        return trial.request(begun, POINT, contributors=ALL, openers=T)

    opened_so_far(MAX_POLYNOMIALS_PER_EPOCH)
    return opening(trial, begun, honest=honest)


def restored() -> Attack:
    trial = plain_trial()
    begun = trial.begin()
    trial.federation.nodes[POINT].custodian.studies.mark_restored()
    return replace(opening(trial, begun), honest=None)


def expired() -> Attack:
    trial = plain_trial()
    begun = trial.begin()
    trial.federation.clock.at = datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC)
    return replace(opening(trial, begun), honest=None)


def answer_only(**changes: Any) -> Callable[[], Attack]:
    """A plan that differs in the given fields, given to a custodian together with the headers of S."""

    def attempt_of(trial: Trial, plan: bytes) -> Attempt:
        return Attempt(plan=plan, contributions={p: (header_by_hand(trial, p, plan),) for p in (1, 3, 4)})

    def arrange() -> Attack:
        trial = plain_trial()
        hostile = attempt_of(trial, trial.plan(**changes))
        honest = attempt_of(trial, trial.plan())
        sets: dict[str, Any] = {"contributors": (1, 3, 4), "openers": T}
        return opening(trial, hostile, **sets, honest=functools.partial(trial.request, honest, POINT, **sets))

    return arrange


ROUND = "fedmed.protocol.node_round."
BINDING = "fedmed.protocol.binding."
CASES = (
    Case(
        code="plan_not_accepted",
        what="accepted before a restart",
        arrange=restarted,
        checks=(ROUND + "check_accepted",),
    ),
    # Taken for a plan to answer only, a superseded one must pass as newer, be counted, bring an open nonce;
    # and the custodian's own header in it is no longer the stored one.
    Case(
        code="plan_not_newer",
        what="superseded by a later attempt",
        arrange=superseded,
        checks=tuple(
            ROUND + name for name in ("check_newer", "check_count", "check_nonce", "check_own_header")
        ),
    ),
    *(
        Case(
            code="set_malformed",
            what=f"{name} {points}",
            arrange=functools.partial(other_sets, **{name: points}),
            checks=(ROUND + "check_sets",),
        )
        for name, points in (
            ("contributors", (3, 3, 3)),
            ("contributors", (2, 1, 3, 4)),
            ("contributors", (1, 2, 3, 3)),
            ("openers", (1, 2, 2)),
            ("openers", (3, 2, 1)),
        )
    ),
    *(
        Case(
            code="set_malformed",
            what=f"{name} outside the nonce list",
            arrange=functools.partial(outside_the_nonce_list, name=name),
            checks=(ROUND + "check_sets",),
        )
        for name in ("contributors", "openers")
    ),
    *(
        Case(
            code="set_too_small",
            what=f"contributors {points}",
            arrange=functools.partial(other_sets, contributors=points),
            checks=(ROUND + "check_set_size",),
        )
        for points in ((1, 2), (3,), ())
    ),
    *(
        Case(
            code="openers_miscounted",
            what=f"openers {points}",
            arrange=functools.partial(other_sets, openers=points),
            checks=(ROUND + "check_openers",),
        )
        for points in ((1, 2), ALL, (1, 3, 4), ())
    ),
    Case(
        code="header_missing",
        what="one header too few",
        arrange=other_headers(lambda headers, trial, attempt: headers[:3]),
        checks=(ROUND + "check_header_count",),
    ),
    Case(
        code="header_missing",
        what="one header too many",
        arrange=other_headers(lambda headers, trial, attempt: [*headers, headers[3]]),
        checks=(ROUND + "check_header_count",),
    ),
    Case(
        code="signature_invalid",
        what="a header signed by another member",
        arrange=other_headers(foreign_signature),
        checks=("fedmed.protocol.envelope.check_signature",),
    ),
    Case(
        code="header_plan_mismatch",
        what="a header of the attempt before",
        arrange=earlier_header,
        checks=(BINDING + "check_header_plan",),
    ),
    *(
        Case(
            code="chunk_outside_plan",
            what=f"a header with {count} chunks",
            arrange=other_headers(functools.partial(chunked_header, count=count)),
            checks=(BINDING + "check_header_chunks",),
        )
        for count in (0, 2)
    ),
    Case(
        code="header_not_mine",
        what="another header of its own key",
        arrange=other_headers(other_own_header),
        checks=(ROUND + "check_own_header",),
    ),
    Case(
        code="header_not_mine",
        what="a header although it did not contribute",
        arrange=never_contributed,
        checks=(ROUND + "check_own_header",),
    ),
    Case(
        code="second_opening",
        what="other openers",
        arrange=second_openers,
        checks=(ROUND + "check_single_opening",),
    ),
    Case(
        code="second_opening",
        what="other headers",
        arrange=second_headers,
        checks=(ROUND + "check_single_opening",),
    ),
    *(
        Case(
            code="set_changed",
            what=f"{on_dropout}: {second} after {first}",
            arrange=later_set(first, second, honest, on_dropout=on_dropout),
            checks=(ROUND + "check_same_set",),
        )
        for on_dropout, first, second, honest in (
            ("stop", ALL, (1, 2, 3), ALL),
            ("stop", (1, 2, 3), ALL, (1, 2, 3)),
            ("continue", (1, 2, 3), ALL, (1, 2, 3)),
            ("continue", (1, 2, 3), (1, 2, 4), (1, 2, 3)),
        )
    ),
    Case(
        code="epoch_exhausted",
        what="a polynomial too many",
        arrange=exhausted,
        checks=(ROUND + "check_polynomials",),
    ),
    Case(
        code="restored_from_backup",
        what="the operator restored a backup",
        arrange=restored,
        checks=(ROUND + "check_restored",),
    ),
    Case(code="study_expired", what="a day late", arrange=expired, checks=(ROUND + "check_expiry",)),
    *(
        Case(
            code=code,
            what=f"plan with the headers: {check}",
            arrange=answer_only(**changes),
            # A round that the study does not have has no stage, so there is nothing to open either.
            checks=() if "round_number" in changes else (ROUND + check,),
        )
        for code, check, changes in (
            ("roster_mismatch", "check_roster", {"roster_digest": bytes(32)}),
            ("epoch_mismatch", "check_epoch", {"epoch_id": bytes([1]) * 32}),
            ("plan_out_of_range", "check_range", {"round_number": 4}),
            ("plan_out_of_range", "check_range", {"round_number": 0}),
            ("plan_out_of_range", "check_range", {"attempt": 0}),
            ("nonce_mismatch", "check_nonce", {"nonces": tuple((p, bytes(16)) for p in ALL)}),
            ("layout_mismatch", "check_layout", {"dropouts": 0}),
        )
    ),
)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_hostile_opening_is_refused_with_its_own_code_and_changes_nothing(case: Case) -> None:
    assert_refused(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.checks], ids=str)
def test_without_its_check_the_hostile_opening_is_answered(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_needed(case, monkeypatch)


def test_the_last_set_may_shrink_where_study_and_policy_say_continue() -> None:
    attack = later_set(ALL, (1, 2, 3), ALL, on_dropout="continue")()
    reply = attack.trial.federation.ask(POINT, attack.kind, *attack.hostile)
    assert not reply.is_refusal
    assert attack.honest is not None
    assert attack.trial.federation.refused(POINT, attack.kind, *attack.honest()) == "second_opening"


def test_the_same_question_gets_the_stored_bytes() -> None:
    trial = make_trial()
    begun = trial.begin()
    parts = trial.request(begun, POINT, contributors=ALL, openers=T)
    first = trial.federation.ask(POINT, PhaseKind.OPEN, *parts)
    before = trial.federation.nodes[POINT].contents()
    assert trial.federation.ask(POINT, PhaseKind.OPEN, *parts).parts == first.parts
    assert trial.federation.nodes[POINT].contents() == before


def test_the_ring_itself_refuses_sets_for_which_no_answer_can_be_computed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second line: with the rule taken away, the threshold scheme still computes nothing."""
    trial = make_trial()
    begun = trial.begin()
    monkeypatch.setattr(ROUND + "check_sets", lambda *args: None)
    parts = trial.request(begun, POINT, contributors=(3, 3, 3), openers=T)
    assert trial.federation.refused(POINT, PhaseKind.OPEN, *parts) == SetMalformed.code
