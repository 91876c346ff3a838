"""Operators of a small province and what they sign."""

from __future__ import annotations

from dataclasses import replace

from fedmed.crypto.identity import Identity
from fedmed.governance.operators import ActKind, OperatorAct, Operators, SignedAct, sign_act
from fedmed.types import ActPlace

SIGNED_AT = "2026-03-02T09:00:00+00:00"
STUDY = bytes([5]) * 32
ROWS = bytes([6]) * 32
YEAR = 2026


def operator(name: str) -> Identity:
    """The keys of an operator; the same in every test."""
    seed = (sum(name.encode()) % 250 + 1).to_bytes(1, "little") * 32
    return Identity(name, signing_key=seed, sealing_key=seed)


OPERATORS = Operators(
    keys={name: operator(name).public.signing_key for name in ("li.wei", "wang.fang", "zhao.min")},
    approvals_needed=2,
)
PLACE = ActPlace(
    node="node1",
    roster_digest=bytes([1]) * 32,
    policy_digest=bytes([2]) * 32,
    approvals_needed=OPERATORS.approvals_needed,
    counter=0,
    head=bytes(32),
)


def act_at(place: ActPlace, kind: ActKind, *, by: str = "li.wei", **fields: object) -> OperatorAct:
    """An act that fits where a node stands; a raise of `ROWS`, other acts on `STUDY`."""
    raised = {"dataset_fingerprint": ROWS, "data_year": YEAR, "cap_epsilon": 3.0, "reason": "pilot"}
    subject = raised if kind is ActKind.RAISE else {"study_digest": STUDY}
    values: dict[str, object] = {
        "kind": kind,
        "operator": by,
        "node": place.node,
        "roster_digest": place.roster_digest,
        "policy_digest": place.policy_digest,
        "approvals_needed": place.approvals_needed,
        "counter": place.counter + 1,
        "previous": place.head,
        "signed_at": SIGNED_AT,
    }
    return OperatorAct(**{**values, **subject, **fields})  # type: ignore[arg-type]


def signed(act: OperatorAct) -> SignedAct:
    """The act with its operator's signature."""
    return sign_act(act, operator(act.operator))


def after(place: ActPlace, act: SignedAct) -> ActPlace:
    """Where the node stands once it has kept an act."""
    return replace(place, counter=place.counter + 1, head=act.head(place.head))
