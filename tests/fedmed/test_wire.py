from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed import wire
from fedmed.errors import MessageMalformed
from fedmed.messages import (
    Answer,
    Dealing,
    Header,
    Member,
    OpeningRequest,
    Plan,
    Rehearsals,
    Roster,
    Signed,
    Statement,
    StudyProposal,
)
from fedmed.proto.v1 import messages_pb2 as pb
from fedmed.types import Layout, RoundKind
from tests.examples import at_most

DIGESTS = st.binary(min_size=32, max_size=32)
NONCES = st.binary(min_size=16, max_size=16)
COUNTS = st.integers(0, 2**32 - 1)
POINTS = st.lists(st.integers(0, 2**32 - 1), max_size=5).map(tuple)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(lambda name: name != "roster")
FINITE = st.floats(allow_nan=False, allow_infinity=False)
UNKNOWN_FIELD = b"\xfa\x3f\x01x"


def digests(least: int = 0) -> st.SearchStrategy[tuple[bytes, ...]]:
    return st.lists(DIGESTS, min_size=least, max_size=4).map(tuple)


@st.composite
def rosters(draw: st.DrawFn) -> Roster:
    names = draw(st.lists(NAMES, min_size=4, max_size=6, unique=True))
    keys = draw(st.lists(DIGESTS, min_size=len(names), max_size=len(names), unique=True))
    cards = [
        Member(name=name, signing_key=key, sealing_key=draw(DIGESTS))
        for name, key in zip(names, keys, strict=True)
    ]
    nodes = len(cards) - 1
    threshold = draw(st.integers(nodes // 2 + 1, nodes))
    return Roster(
        version=draw(COUNTS),
        members=tuple(cards[1:]),
        threshold=threshold,
        colluders=draw(st.integers(0, min(2 * threshold - nodes - 1, nodes - 2))),
        coordinator=cards[0],
        owners=tuple(sorted(draw(st.sets(st.sampled_from(["NHSA", "上海市医保局", "a b"]))))),
    )


LAYOUTS = st.builds(
    Layout,
    grid=st.floats(min_value=1e-300, allow_infinity=False, allow_nan=False),
    limit=st.integers(1, 2**63),
    tail=st.integers(0, 2**63),
    values=st.integers(1, 2**40),
    field_bits=st.integers(1, 62),
    fields=st.integers(1, 100),
    parameter_set=st.sampled_from(["plain", "t8", "t64"]),
    noise_scale=FINITE,
)
PLANS = st.builds(
    Plan,
    study_digest=DIGESTS,
    epoch_id=DIGESTS,
    roster_digest=DIGESTS,
    kind=st.sampled_from(RoundKind),
    round_number=COUNTS,
    attempt=COUNTS,
    nonces=st.dictionaries(COUNTS, NONCES, max_size=5).map(lambda d: tuple(sorted(d.items()))),
    inputs_digest=DIGESTS,
    layout=LAYOUTS,
    planned_contributors=COUNTS,
    dropouts=COUNTS,
    colluders=COUNTS,
)


@dataclass(frozen=True)
class Codec:
    """One message of the wire, both ways."""

    values: st.SearchStrategy[Any]
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


CODECS = {
    "signed": Codec(
        st.builds(Signed, type=st.text(max_size=20), body=st.binary(), signature=st.binary()),
        wire.encode_signed,
        wire.decode_signed,
    ),
    "statement": Codec(
        st.builds(
            Statement,
            sender=NAMES,
            receiver=NAMES,
            context=DIGESTS,
            audit_head=DIGESTS,
            audit_counter=st.integers(0, 2**64 - 1),
            content=st.binary(),
        ),
        wire.encode_statement,
        wire.decode_statement,
    ),
    "roster": Codec(rosters(), wire.encode_roster, wire.decode_roster),
    "proposal": Codec(
        st.builds(StudyProposal, canonical=st.binary(), roster_digest=DIGESTS, epoch_id=DIGESTS),
        wire.encode_proposal,
        wire.decode_proposal,
    ),
    "nonce": Codec(NONCES, wire.encode_nonce, wire.decode_nonce),
    "dealing": Codec(st.builds(Dealing, blob_digests=digests()), wire.encode_dealing, wire.decode_dealing),
    "transcript": Codec(DIGESTS, wire.encode_transcript, wire.decode_transcript),
    "rehearsals": Codec(
        st.lists(st.tuples(DIGESTS, DIGESTS), min_size=1, max_size=4).map(
            lambda pairs: Rehearsals(
                plan_digests=tuple(p for p, _ in pairs), header_digests=tuple(h for _, h in pairs)
            )
        ),
        wire.encode_rehearsals,
        wire.decode_rehearsals,
    ),
    "plan": Codec(PLANS, wire.encode_plan, wire.decode_plan),
    "header": Codec(
        st.builds(Header, chunk_digests=digests(), next_nonce=NONCES), wire.encode_header, wire.decode_header
    ),
    "request": Codec(
        st.builds(
            OpeningRequest,
            contributors=POINTS,
            openers=POINTS,
            headers=st.lists(st.binary(max_size=50), max_size=4).map(tuple),
        ),
        wire.encode_opening_request,
        wire.decode_opening_request,
    ),
    "answer": Codec(
        st.builds(Answer, contributors=POINTS, openers=POINTS, chunk_digests=digests(), next_nonce=NONCES),
        wire.encode_answer,
        wire.decode_answer,
    ),
}
codecs = pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS.keys())


@codecs
@settings(deadline=None, max_examples=at_most(25))
@given(data=st.data())
def test_what_is_encoded_decodes_to_the_same_value(codec: Codec, data: st.DataObject) -> None:
    value = data.draw(codec.values)
    encoded = codec.encode(value)
    assert codec.decode(encoded) == value
    assert codec.encode(codec.decode(encoded)) == encoded


@codecs
@settings(deadline=None, max_examples=at_most(40))
@given(data=st.binary(max_size=120))
def test_arbitrary_bytes_decode_to_a_whole_value_or_are_malformed(codec: Codec, data: bytes) -> None:
    try:
        value = codec.decode(data)
    except MessageMalformed:
        return
    assert codec.decode(codec.encode(value)) == value


@codecs
@settings(deadline=None, max_examples=10)
@given(data=st.data())
def test_a_field_that_this_version_does_not_know_is_refused(codec: Codec, data: st.DataObject) -> None:
    encoded = codec.encode(data.draw(codec.values))
    with pytest.raises(MessageMalformed, match="does not know"):
        codec.decode(encoded + UNKNOWN_FIELD)


@codecs
@settings(deadline=None, max_examples=at_most(15))
@given(data=st.data())
def test_a_message_that_is_cut_inside_a_field_is_refused(codec: Codec, data: st.DataObject) -> None:
    encoded = codec.encode(data.draw(codec.values))
    if encoded:
        # A length without its bytes: what is left after it cannot be parsed.
        with pytest.raises(MessageMalformed):
            codec.decode(encoded + b"\x0a\x05ab")


def changed(kind: Any, encoded: bytes, change: Callable[[Any], object]) -> bytes:
    message = kind()
    message.ParseFromString(encoded)
    change(message)
    return bytes(message.SerializeToString())


@settings(deadline=None, max_examples=10)
@given(plan=PLANS.filter(lambda plan: bool(plan.nonces)), roster=rosters())
def test_an_unknown_field_inside_a_part_is_refused_as_well(plan: Plan, roster: Roster) -> None:
    for kind, encoded, change, decode in (
        (
            pb.Plan,
            wire.encode_plan(plan),
            lambda m: m.layout.MergeFromString(UNKNOWN_FIELD),
            wire.decode_plan,
        ),
        (
            pb.Plan,
            wire.encode_plan(plan),
            lambda m: m.nonces[0].MergeFromString(UNKNOWN_FIELD),
            wire.decode_plan,
        ),
        (
            pb.Roster,
            wire.encode_roster(roster),
            lambda m: m.coordinator.MergeFromString(UNKNOWN_FIELD),
            wire.decode_roster,
        ),
    ):
        with pytest.raises(MessageMalformed, match="does not know"):
            decode(changed(kind, encoded, change))


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_a_nonce_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(MessageMalformed, match="16 bytes"):
        wire.decode_nonce(wire.encode_nonce(bytes(size)))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_digest_of_another_size_is_refused_everywhere(size: int) -> None:
    wrong, right, nonce = bytes(size), bytes(32), bytes(16)
    for decode, message in (
        (wire.decode_transcript, pb.Transcript(digest=wrong)),
        (wire.decode_dealing, pb.Dealing(blob_digests=[right, wrong])),
        (wire.decode_rehearsals, pb.Rehearsals(plan_digests=[wrong], header_digests=[right])),
        (wire.decode_rehearsals, pb.Rehearsals(plan_digests=[right], header_digests=[wrong])),
        (wire.decode_proposal, pb.Study(roster_digest=wrong, epoch_id=right)),
        (wire.decode_proposal, pb.Study(roster_digest=right, epoch_id=wrong)),
        (wire.decode_header, pb.Header(chunk_digests=[wrong], next_nonce=nonce)),
        (wire.decode_answer, pb.Answer(chunk_digests=[wrong], next_nonce=nonce)),
        (wire.decode_statement, pb.Statement(context=wrong, audit_head=right)),
        (wire.decode_statement, pb.Statement(context=right, audit_head=wrong)),
    ):
        with pytest.raises(MessageMalformed):
            decode(message.SerializeToString())


@pytest.mark.parametrize("name", ["study_digest", "epoch_id", "roster_digest", "inputs_digest"])
def test_a_plan_with_a_digest_of_another_size_is_refused(name: str) -> None:
    encoded = changed(pb.Plan, wire.encode_plan(PLAN), lambda m: setattr(m, name, bytes(31)))
    with pytest.raises(MessageMalformed):
        wire.decode_plan(encoded)


PLAN = Plan(
    study_digest=bytes(32),
    epoch_id=bytes(32),
    roster_digest=bytes(32),
    kind=RoundKind.TRAINING,
    round_number=1,
    attempt=1,
    nonces=((1, bytes(16)), (2, bytes(16))),
    inputs_digest=bytes(32),
    layout=Layout(
        grid=1.0,
        limit=1,
        tail=0,
        values=1,
        field_bits=8,
        fields=1,
        parameter_set="plain",
        noise_scale=8.0,
    ),
    planned_contributors=3,
    dropouts=0,
    colluders=0,
)


@pytest.mark.parametrize(
    "change",
    [
        lambda m: setattr(m, "kind", "divination"),
        lambda m: setattr(m, "kind", ""),
        lambda m: m.nonces.reverse(),
        lambda m: setattr(m.nonces[1], "point", 1),
        lambda m: setattr(m.nonces[1], "nonce", bytes(15)),
        lambda m: setattr(m.layout, "grid", float("nan")),
        lambda m: setattr(m.layout, "grid", 0.0),
        lambda m: setattr(m.layout, "field_bits", 63),
        lambda m: m.ClearField("layout"),
    ],
    ids=["kind", "no kind", "order", "doubled", "short nonce", "nan", "zero grid", "wide field", "no layout"],
)
def test_a_plan_with_an_impossible_value_is_refused(change: Callable[[Any], object]) -> None:
    with pytest.raises(MessageMalformed):
        wire.decode_plan(changed(pb.Plan, wire.encode_plan(PLAN), change))


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.members.pop(),
        lambda m: m.members[0].CopyFrom(m.members[1]),
        lambda m: setattr(m.members[0], "signing_key", m.coordinator.signing_key),
        lambda m: setattr(m.members[0], "name", ""),
        lambda m: setattr(m.members[0], "name", "roster"),
        lambda m: setattr(m.members[0], "sealing_key", bytes(31)),
        lambda m: setattr(m, "threshold", 1),
        lambda m: setattr(m, "threshold", 4),
        lambda m: setattr(m, "colluders", 2),
        lambda m: m.ClearField("coordinator"),
        lambda m: m.owners.extend(["b", "a"]),
        lambda m: m.owners.extend(["a", "a"]),
        lambda m: m.owners.append("two\nlines"),
        lambda m: m.owners.append(""),
    ],
    ids=[
        "two members",
        "one twice",
        "a key twice",
        "no name",
        "everyone's name",
        "short key",
        "threshold of one",
        "threshold above all",
        "too many colluders",
        "no coordinator",
        "owners out of order",
        "an owner twice",
        "an owner of two lines",
        "an owner without a name",
    ],
)
def test_a_roster_that_cannot_be_is_refused(change: Callable[[Any], object]) -> None:
    card = [
        Member(name=f"n{i}", signing_key=bytes([i]) * 32, sealing_key=bytes([i + 9]) * 32) for i in range(4)
    ]
    roster = Roster(version=1, members=tuple(card[1:]), threshold=3, colluders=1, coordinator=card[0])
    with pytest.raises(MessageMalformed):
        wire.decode_roster(changed(pb.Roster, wire.encode_roster(roster), change))


def test_text_that_is_not_utf8_is_refused() -> None:
    with pytest.raises(MessageMalformed):
        wire.decode_signed(b"\x0a\x02\xff\xfe")


@settings(deadline=None, max_examples=10)
@given(first=rosters(), second=rosters())
def test_different_rosters_have_different_digests(first: Roster, second: Roster) -> None:
    assert (wire.roster_digest(first) == wire.roster_digest(second)) == (first == second)
