"""What of a study's payloads a coordinator keeps, and how many sums a release carries them of."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from fedmed import wire
from fedmed.messages import OpeningRequest
from fedmed.protocol import envelope
from fedmed.protocol.binding import payload_digest
from fedmed.protocol.steps import LOST, Phase, PhaseKind, Reply, Steps
from fedmed.release.payloads import MOST_PAYLOAD_BYTES, fitting, retained
from fedmed.types import Scheme
from tests.federation import COORDINATOR, identity_of


def kept(*, scheme: Scheme, name: str = "", code: str = "") -> list[Mapping[str, bytes]]:
    """What is kept of one attempt: three contribute, two are in the set, one answer comes or fails."""
    request = wire.encode_opening_request(
        OpeningRequest(contributors=(1, 2), openers=(1,), headers=(b"1", b"2"))
    )
    signed = envelope.sign_message(
        identity_of(COORDINATOR), envelope.OPENING_REQUEST, request, context=bytes(32), receiver="node1"
    )
    answer = Reply(code=code) if code else Reply(parts=(b"signed", b"answer"))
    contributions = {p: Reply(parts=(b"signed", b"payload %d" % p)) for p in (1, 2, 3)}

    def steps() -> Steps[str]:
        yield Phase(name=f"{name}contribute", kind=PhaseKind.CONTRIBUTE, requests={1: (b"plan",)})
        yield Phase(name=f"{name}open", kind=PhaseKind.OPEN, requests={1: (signed, b"plan")})
        return "done"

    found: list[Mapping[str, bytes]] = []
    wrapped = retained(steps(), found.append, scheme=scheme)
    next(wrapped)
    wrapped.send(contributions)
    with pytest.raises(StopIteration, match="done"):
        wrapped.send({1: answer})
    return found


def by_digest(*payloads: bytes) -> dict[str, bytes]:
    return {payload_digest(one).hex(): one for one in payloads}


def test_contributions_of_the_set_and_answers_are_kept() -> None:
    assert kept(scheme=Scheme.THRESHOLD) == [by_digest(b"payload 1", b"payload 2", b"answer")]


def test_no_contribution_is_kept_that_somebody_could_open() -> None:
    assert kept(scheme=Scheme.CKKS) == [by_digest(b"answer")]
    assert kept(scheme=Scheme.PLAIN) == []


def test_neither_rehearsals_nor_sums_that_did_not_open_are_kept() -> None:
    assert kept(scheme=Scheme.THRESHOLD, name="ceremony ") == []
    assert kept(scheme=Scheme.THRESHOLD, code=LOST) == []


def test_the_last_sum_is_always_covered_and_earlier_ones_while_they_fit() -> None:
    half = MOST_PAYLOAD_BYTES // 2
    assert fitting([half, half, 1], int) == [half, half]
    assert fitting([1, 2, 3], int) == [1, 2, 3]
    assert fitting([3 * half, 1], int) == [3 * half]
    assert fitting([], int) == []
