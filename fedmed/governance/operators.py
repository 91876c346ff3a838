"""Acts of a province's operators: approving, revoking, raising a budget; k of n signatures over each.

Threat model. One operator, or a thief of one key, must not release a study or a budget alone where the policy
asks for k of n: only signatures of different listed keys over the same subject count together. A signature
is worth nothing anywhere else: it names the node, the roster, the policy under which it was given and its
place in the node's chain of acts, so that it can neither be shown to another province, nor be replayed after
the policy changed, nor be counted twice. Who holds k keys, or the custodian's own user, is not kept out.

Rules only: the custodian keeps the acts (`fedmed_nodes.stores`) and carries them out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from types import MappingProxyType
from typing import Final

from fedmed.crypto.identity import (
    KEY_BYTES,
    SIGNATURE_BYTES,
    Identity,
    PublicIdentity,
    signed_bytes,
    verify,
)
from fedmed.errors import ActStale, ConfigError, IntegrityError, SignatureInvalid
from fedmed.privacy.record_format import read_record, record_bytes, require_time
from fedmed.types import DIGEST_BYTES, ActPlace, digest, require

FORMAT: Final = "fedmed/act/1"
NO_STUDY: Final = bytes(DIGEST_BYTES)
MOST_OPERATORS: Final = 64
MAX_REASON_BYTES: Final = 512

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# Signatures need no sealing key; X25519's base point is one that every card may have.
_ANY_SEALING_KEY: Final = bytes([9]) + bytes(KEY_BYTES - 1)


class ActKind(Enum):
    """What an operator does; closed, because each has its own consequence."""

    APPROVE = "approve"
    APPROVE_DIFFERENCE = "approve_difference"
    """A yes to a study although it is too near to one that was answered before."""
    REVOKE = "revoke"
    RAISE = "raise"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operators:
    """Who may act for a province, and how many of them it takes.

    Attributes:
        keys: Ed25519 public keys, 32 bytes, by the operator's name.
        approvals_needed: Different operators for each act, 1 to all of them.

    Raises:
        ConfigError: a name or key is not usable, two operators share a key, or more are needed than listed.
    """

    keys: Mapping[str, bytes]
    approvals_needed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "keys", MappingProxyType(dict(sorted(self.keys.items()))))
        count = len(self.keys)
        require(1 <= count <= MOST_OPERATORS, f"operators must list 1 to {MOST_OPERATORS} keys, got {count}")
        for name, key in self.keys.items():
            require_operator_name(name)
            _card(name, key)  # refuses a key of another size or of small order
        # One person with two names would sign alone.
        require(len(set(self.keys.values())) == count, "operators: every operator needs a key of their own")
        require(
            1 <= self.approvals_needed <= count,
            f"approvals_needed must be in 1..{count}, the operators listed, got {self.approvals_needed}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorAct:
    """What one operator signs.

    Attributes:
        kind: What is done.
        operator: Who does it, as the policy lists them.
        node: At which province.
        roster_digest: Roster pinned there, 32 bytes.
        policy_digest: Policy in force there, 32 bytes.
        approvals_needed: Signatures that this policy asks for (>= 1).
        counter: Place in the chain of acts, from 1.
        previous: Head of the chain before, 32 bytes.
        study_digest: The study, 32 bytes; `NO_STUDY` for a raise.
        dataset_fingerprint: For a raise, the dataset version whose budget it is; zeros otherwise.
        data_year: For a raise, the year that the rows describe; 0 otherwise.
        cap_epsilon: For a raise, the new cap of the year (> 0), not an addition to it; 0.0 otherwise.
        reason: Why, in the operator's words: no control characters, at most 512 bytes; a raise needs one.
        signed_at: ISO 8601 time with offset, by the operator's clock.

    Raises:
        ConfigError: a field is impossible, or does not go with the kind.
    """

    kind: ActKind
    operator: str
    node: str
    roster_digest: bytes
    policy_digest: bytes
    approvals_needed: int
    counter: int
    previous: bytes
    study_digest: bytes = NO_STUDY
    dataset_fingerprint: bytes = bytes(DIGEST_BYTES)
    data_year: int = 0
    cap_epsilon: float = 0.0
    reason: str = ""
    signed_at: str

    def __post_init__(self) -> None:
        require_operator_name(self.operator)
        for name in _DIGESTS:
            require(len(getattr(self, name)) == DIGEST_BYTES, f"{name} must be {DIGEST_BYTES} bytes")
        require(self.counter >= 1, f"counter must be >= 1, got {self.counter}")
        require(self.approvals_needed >= 1, f"approvals_needed must be >= 1, got {self.approvals_needed}")
        require(self.reason.isprintable(), "reason must have no control characters")
        size = len(self.reason.encode())
        require(size <= MAX_REASON_BYTES, f"reason must be at most {MAX_REASON_BYTES} bytes, got {size}")
        require_time("signed_at", self.signed_at)
        _require_subject(self)

    @property
    def subject(self) -> tuple[object, ...]:
        """What signatures must agree on to count together: everything but who, when, where and why."""
        return (
            self.kind,
            self.node,
            self.roster_digest,
            self.policy_digest,
            self.approvals_needed,
            self.study_digest,
            self.dataset_fingerprint,
            self.data_year,
            self.cap_epsilon,
        )

    def to_bytes(self) -> bytes:
        """Write the act in its one canonical form: the bytes that are signed."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values |= {name: values[name].hex() for name in _DIGESTS}
        values |= {"kind": self.kind.value, "cap_epsilon": float(self.cap_epsilon)}
        return record_bytes(FORMAT, values)

    @classmethod
    def from_bytes(cls, data: bytes) -> OperatorAct:
        """Read what `to_bytes` wrote, byte for byte.

        Raises:
            UnknownVersion: the format is another one.
            IntegrityError: a field is unknown, missing or impossible, or the form is not the canonical one.
        """
        values = read_record(FORMAT, data, fields=_STORED)
        try:
            values |= {name: bytes.fromhex(values[name]) for name in _DIGESTS}
            act = cls(**{**values, "kind": ActKind(values["kind"])})
        except (ValueError, ConfigError):
            raise IntegrityError("act record has a value that cannot be: its bytes were altered") from None
        if act.to_bytes() != data:
            raise IntegrityError("act record is not in canonical form: its bytes were altered")
        return act


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAct:
    """An act as it travels and is kept: its exact bytes and the operator's signature (64 bytes)."""

    body: bytes
    signature: bytes

    def __post_init__(self) -> None:
        require(len(self.signature) == SIGNATURE_BYTES, f"signature must be {SIGNATURE_BYTES} bytes")

    @property
    def act(self) -> OperatorAct:
        """The act; raises as `OperatorAct.from_bytes`."""
        return OperatorAct.from_bytes(self.body)

    def head(self, previous: bytes) -> bytes:
        """Head of a chain of acts that ends with this one, 32 bytes."""
        return digest("fedmed/act", previous, self.body, self.signature)


NO_ACT_HEAD: Final = bytes(DIGEST_BYTES)
"""Head of a chain without acts."""


def act_head(acts: Iterable[SignedAct]) -> bytes:
    """Head of a chain of acts, 32 bytes."""
    head = NO_ACT_HEAD
    for act in acts:
        head = act.head(head)
    return head


def sign_act(act: OperatorAct, identity: Identity) -> SignedAct:
    """Sign an act with the key of the operator that it names.

    Raises:
        ConfigError: the key is another operator's.
    """
    require(
        act.operator == identity.name,
        f"the key is {identity.name}'s, the act names {act.operator}: sign with the operator's own",
    )
    body = act.to_bytes()
    return SignedAct(body=body, signature=identity.sign(signed_bytes("operator_act", body)))


def check_act(signed: SignedAct, operators: Operators, place: ActPlace) -> OperatorAct:
    """Check one signature and that it was given for this node as it stands now.

    Returns:
        The act. Whether it may be carried out (`is_agreed`) is another question.

    Raises:
        IntegrityError: the bytes were altered.
        SignatureInvalid: the operator is not listed, or the signature is not theirs.
        ActStale: signed for another node, roster, policy or place in the chain, or seen before.
    """
    act = signed.act
    key = operators.keys.get(act.operator)
    if key is None:
        raise SignatureInvalid(f"{act.operator} is not among the policy's operators; list their key first")
    verify(_card(act.operator, key), signed_bytes("operator_act", signed.body), signed.signature)
    named = (act.node, act.roster_digest, act.policy_digest, act.approvals_needed)
    here = (place.node, place.roster_digest, place.policy_digest, operators.approvals_needed)
    if named != here:
        raise ActStale("the act was signed for another node, roster or policy; read it again and sign anew")
    if (act.counter, act.previous) != (place.counter + 1, place.head):
        raise ActStale("another act came first, or this one was seen before; read it again and sign anew")
    return act


def signers(acts: Iterable[OperatorAct], like: OperatorAct) -> tuple[str, ...]:
    """Names of the operators who signed the same subject as ``like``, in the order of their first act."""
    return tuple(dict.fromkeys(act.operator for act in acts if act.subject == like.subject))


def is_agreed(acts: Iterable[OperatorAct], like: OperatorAct) -> bool:
    """Whether as many different operators signed the subject of ``like`` as its policy asked for."""
    return len(signers(acts, like)) >= like.approvals_needed


def standing_signers(acts: Iterable[SignedAct], operators: Operators) -> tuple[str, ...]:
    """Which operators of today stand behind a decision that was taken before.

    Args:
        acts: All acts that would decide one question, in order; each was checked when it came.
        operators: Whom the policy lists today, with the keys that it lists for them today.

    Returns:
        Names, in the order of signing: the most of them who signed one and the same subject, which had as
        many signatures as the policy of its day asked for; empty where there is none.

    Guarantees:
        A signature counts only under the key that is listed for its operator today. Signatures under
        different policies never add up: nobody is counted for what they did not read.
    """
    kept = list(acts)
    read = [signed.act for signed in kept]
    standing = [act for signed, act in zip(kept, read, strict=True) if _still_holds(signed, act, operators)]
    agreed = [signers(standing, act) for act in standing if is_agreed(read, act)]
    return max(agreed, key=len, default=())


def _still_holds(signed: SignedAct, act: OperatorAct, operators: Operators) -> bool:
    """Whether an act's signature is one of an operator whom the policy lists today."""
    key = operators.keys.get(act.operator)
    if key is None:
        return False
    try:
        verify(_card(act.operator, key), signed_bytes("operator_act", signed.body), signed.signature)
    except SignatureInvalid:
        return False
    return True


def raised_caps(acts: Iterable[OperatorAct]) -> Mapping[tuple[bytes, int], float]:
    """The caps that agreed raises set.

    Args:
        acts: All acts of a node, in order; each was checked when it came.

    Returns:
        The largest agreed cap for each (dataset fingerprint, data year).

    Guarantees:
        A further act never makes a cap smaller, whatever it says and whoever signs it.
    """
    raises = [act for act in acts if act.kind is ActKind.RAISE]
    caps: dict[tuple[bytes, int], float] = {}
    for act in raises:
        if is_agreed(raises, act):
            rows = (act.dataset_fingerprint, act.data_year)
            caps[rows] = max(caps.get(rows, 0.0), act.cap_epsilon)
    return MappingProxyType(caps)


def cap_of(acts: Iterable[OperatorAct], rows: tuple[bytes, int], *, least: float) -> float:
    """The cap of a year's epsilon on a dataset.

    Args:
        acts: All acts of a node, in order.
        rows: The dataset's fingerprint, and the year that its rows describe.
        least: What the policy allows without any raise.
    """
    return max(least, raised_caps(acts).get(rows, 0.0))


def require_operator_name(name: str) -> None:
    """Raise `ConfigError` unless ``name`` can stand in a policy: lower case, digits, dots and dashes."""
    good = _NAME.fullmatch(name) is not None
    require(good, f"operator name must be 1 to 64 of a-z, 0-9, dot, _ and -, got {name!r}")


def _card(name: str, key: bytes) -> PublicIdentity:
    """An operator as the signature check wants one."""
    return PublicIdentity(name=name, signing_key=key, sealing_key=_ANY_SEALING_KEY)


def _require_subject(act: OperatorAct) -> None:
    """A raise has rows, a cap and a reason; the other acts have a study."""
    rows = any(act.dataset_fingerprint), act.data_year != 0, act.cap_epsilon != 0
    if act.kind is not ActKind.RAISE:
        require(act.study_digest != NO_STUDY, f"study_digest must name the study to {act.kind.value}")
        require(not any(rows), f"an act to {act.kind.value} names a study, no dataset and no cap")
        return
    require(act.study_digest == NO_STUDY, "a raise names a dataset, no study")
    require(1900 <= act.data_year <= 9999, f"data_year must be in 1900..9999, got {act.data_year}")
    good = math.isfinite(act.cap_epsilon) and act.cap_epsilon > 0
    require(good, f"cap_epsilon must be finite and > 0, got {act.cap_epsilon}")
    require(bool(act.reason.strip()), "reason must say why the budget is raised")


_DIGESTS: Final = ("roster_digest", "policy_digest", "previous", "study_digest", "dataset_fingerprint")
_STORED: Final = {field.name: str for field in fields(OperatorAct)} | {
    "approvals_needed": int,
    "counter": int,
    "data_year": int,
    "cap_epsilon": float,
}
