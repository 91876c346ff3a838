from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ActStale, ConfigError, FedMedError, IntegrityError, SignatureInvalid
from fedmed.governance.operators import (
    ActKind,
    OperatorAct,
    Operators,
    SignedAct,
    check_act,
    is_agreed,
    raised_caps,
    sign_act,
    signers,
    standing_signers,
)
from fedmed.types import ActPlace
from tests.examples import at_most
from tests.operator_acts import OPERATORS, PLACE, ROWS, STUDY, YEAR, act_at, after, operator, signed

NAMES = tuple(OPERATORS.keys)


@pytest.mark.parametrize("kind", list(ActKind))
def test_a_signed_act_is_read_as_it_was_signed(kind: ActKind) -> None:
    act = act_at(PLACE, kind)
    assert check_act(signed(act), OPERATORS, PLACE) == act
    assert OperatorAct.from_bytes(act.to_bytes()) == act


def test_nobody_signs_in_anothers_name() -> None:
    act = act_at(PLACE, ActKind.APPROVE)
    with pytest.raises(ConfigError, match=r"the key is wang\.fang's"):
        sign_act(act, operator("wang.fang"))
    forged = SignedAct(body=act.to_bytes(), signature=signed(act_at(PLACE, ActKind.REVOKE)).signature)
    with pytest.raises(SignatureInvalid):
        check_act(forged, OPERATORS, PLACE)


def test_an_unlisted_operator_signs_in_vain() -> None:
    with pytest.raises(SignatureInvalid, match="not among the policy's operators"):
        check_act(signed(act_at(PLACE, ActKind.APPROVE, by="mallory")), OPERATORS, PLACE)


@pytest.mark.parametrize(
    "change",
    [
        {"node": "node2"},
        {"roster_digest": bytes([9]) * 32},
        {"policy_digest": bytes([9]) * 32},
        {"counter": 1},
        {"head": bytes([9]) * 32},
    ],
)
def test_an_act_is_worth_nothing_elsewhere_or_later(change: dict[str, object]) -> None:
    act = signed(act_at(PLACE, ActKind.RAISE))
    with pytest.raises(ActStale):
        check_act(act, OPERATORS, dataclasses.replace(PLACE, **change))  # type: ignore[arg-type]


def test_an_act_that_was_kept_is_not_taken_again() -> None:
    act = signed(act_at(PLACE, ActKind.RAISE))
    with pytest.raises(ActStale, match="seen before"):
        check_act(act, OPERATORS, after(PLACE, act))


@settings(deadline=None, max_examples=at_most(30))
@given(data=st.data())
def test_a_changed_byte_is_found(data: st.DataObject) -> None:
    act = signed(act_at(PLACE, ActKind.RAISE))
    at = data.draw(st.integers(0, len(act.body) - 1))
    body = act.body[:at] + bytes([act.body[at] ^ data.draw(st.integers(1, 255))]) + act.body[at + 1 :]
    with pytest.raises((IntegrityError, ActStale)):
        check_act(dataclasses.replace(act, body=body), OPERATORS, PLACE)


def test_only_different_operators_count_and_only_on_one_subject() -> None:
    first, again = act_at(PLACE, ActKind.APPROVE), act_at(PLACE, ActKind.APPROVE, reason="once more")
    other = act_at(PLACE, ActKind.APPROVE, by="wang.fang", study_digest=bytes([8]) * 32)
    assert signers((first, again, other), first) == ("li.wei",)
    assert not is_agreed((first, again, other), first)
    assert is_agreed((first, other, act_at(PLACE, ActKind.APPROVE, by="zhao.min")), first)


def test_signatures_under_another_policy_do_not_count_together() -> None:
    changed = dataclasses.replace(PLACE, policy_digest=bytes([9]) * 32)
    first, second = act_at(PLACE, ActKind.APPROVE), act_at(changed, ActKind.APPROVE, by="wang.fang")
    assert not is_agreed((first, second), first)


def approvals(*names: str, place: ActPlace = PLACE) -> list[SignedAct]:
    return [signed(act_at(place, ActKind.APPROVE, by=name)) for name in names]


def listing(*names: str, needed: int = 1) -> Operators:
    return Operators(keys={n: operator(n).public.signing_key for n in names}, approvals_needed=needed)


def test_a_signature_counts_only_under_the_key_that_is_listed_today() -> None:
    """Guarantee of `standing_signers`."""
    acts = approvals("li.wei", "wang.fang")
    assert standing_signers(acts, OPERATORS) == ("li.wei", "wang.fang")
    assert standing_signers(acts, listing("li.wei", "zhao.min")) == ("li.wei",)
    new_key = {"li.wei": operator("li.wei").public.signing_key, "wang.fang": operator("x").public.signing_key}
    assert standing_signers(acts, Operators(keys=new_key, approvals_needed=1)) == ("li.wei",)
    assert standing_signers(approvals("li.wei"), listing("li.wei")) == (), "one of two was no yes on its day"


def test_signatures_given_under_different_policies_never_add_up() -> None:
    """Guarantee of `standing_signers`."""
    changed = dataclasses.replace(PLACE, policy_digest=bytes([9]) * 32)
    acts = [*approvals("li.wei", "wang.fang"), *approvals("zhao.min", "wang.fang", place=changed)]
    assert standing_signers(acts, listing("li.wei", "zhao.min", needed=2)) == ("li.wei",)


acts = st.builds(
    lambda kind, by, cap, year: act_at(
        PLACE, kind, by=by, **({"cap_epsilon": cap, "data_year": year} if kind is ActKind.RAISE else {})
    ),
    st.sampled_from(ActKind),
    st.sampled_from(NAMES),
    st.sampled_from([0.5, 1.0, 2.0]),
    st.sampled_from([YEAR, YEAR + 1]),
)


@settings(deadline=None, max_examples=at_most(60))
@given(sequence=st.lists(acts, max_size=12))
def test_a_cap_never_falls_over_any_sequence_of_acts(sequence: list[OperatorAct]) -> None:
    before = raised_caps(())
    for count in range(1, len(sequence) + 1):
        caps = raised_caps(sequence[:count])
        assert all(caps[rows] >= cap for rows, cap in before.items())
        before = caps


def test_a_raise_takes_as_many_operators_as_the_policy_says() -> None:
    alone = [act_at(PLACE, ActKind.RAISE), act_at(PLACE, ActKind.RAISE)]
    assert raised_caps(alone) == {}
    other_cap = act_at(PLACE, ActKind.RAISE, by="wang.fang", cap_epsilon=9.0)
    assert raised_caps([*alone, other_cap]) == {}, "two operators who mean different caps agree on none"
    agreed = [*alone, other_cap, act_at(PLACE, ActKind.RAISE, by="zhao.min")]
    assert raised_caps(agreed) == {(ROWS, YEAR): 3.0}


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (ActKind.APPROVE, {"study_digest": bytes(32)}),
        (ActKind.APPROVE, {"cap_epsilon": 1.0}),
        (ActKind.REVOKE, {"data_year": 2026}),
        (ActKind.RAISE, {"study_digest": STUDY}),
        (ActKind.RAISE, {"reason": " "}),
        (ActKind.RAISE, {"cap_epsilon": float("inf")}),
        (ActKind.RAISE, {"data_year": 26}),
        (ActKind.APPROVE, {"reason": "a\nb"}),
        (ActKind.APPROVE, {"reason": "长" * 200}),
    ],
)
def test_an_act_that_cannot_be_is_refused(kind: ActKind, change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        act_at(PLACE, kind, **change)


KEY = operator("li.wei").public.signing_key


@pytest.mark.parametrize(
    ("keys", "needed"),
    [
        ({}, 1),
        ({"li.wei": KEY}, 2),
        ({"li.wei": KEY}, 0),
        ({"li.wei": KEY, "li.wei2": KEY}, 1),
        ({"Li Wei": KEY}, 1),
        ({"li.wei": KEY[:31]}, 1),
        ({"li.wei": bytes(32)}, 1),
    ],
)
def test_operators_that_cannot_be_are_refused(keys: dict[str, bytes], needed: int) -> None:
    with pytest.raises(FedMedError):
        Operators(keys=keys, approvals_needed=needed)
