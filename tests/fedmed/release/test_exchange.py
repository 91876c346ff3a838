"""Notes what a phase said: signed messages whole, everything else by digest."""

from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError, ReleaseBroken
from fedmed.protocol import envelope
from fedmed.protocol.binding import payload_digest
from fedmed.protocol.steps import LOST, Phase, PhaseKind, Reply, Steps
from fedmed.release.exchange import MOST_KEPT_BYTES, WORD_BYTES, Exchange, Part, Said, exchange_of, witnessed
from tests.federation import COORDINATOR, identity_of

PLAN = envelope.sign_message(identity_of(COORDINATOR), envelope.PLAN, b"plan", context=bytes(32))
CIPHERTEXT = bytes(range(256)) * 4


def one_phase(*, reply: Reply | None = None) -> tuple[Phase, dict[int, Reply]]:
    phase = Phase(
        name="contribute", kind=PhaseKind.CONTRIBUTE, requests=dict.fromkeys((1, 2, 3), (PLAN, CIPHERTEXT))
    )
    return phase, {1: Reply(parts=(PLAN, CIPHERTEXT)), 2: reply or Reply(code=LOST), 3: Reply(parts=(b"ok",))}


def test_envelopes_and_words_are_kept_and_payloads_only_named() -> None:
    noted = exchange_of(*one_phase())
    plan, payload = noted.asked[1]
    assert (plan.kept, plan.size) == (PLAN, len(PLAN))
    assert payload == Part(digest=payload_digest(CIPHERTEXT), size=len(CIPHERTEXT))
    assert noted.answered[2] == Said(code=LOST)
    assert noted.answered[3].parts[0].kept == b"ok"
    line = noted.to_line()
    assert line.count(b"\n") == 1
    assert json.loads(line)["asked"][0]["points"] == [1, 2, 3], "a broadcast stands there once"


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(CIPHERTEXT, id="ciphertext"),
        pytest.param(b"x" * (WORD_BYTES + 1), id="longer than a word"),
        pytest.param(
            envelope.sign_message(identity_of(1), "foreign", b"z", context=bytes(32)), id="foreign type"
        ),
        pytest.param(
            envelope.sign_message(identity_of(1), envelope.PLAN, b"z" * MOST_KEPT_BYTES, context=bytes(32)),
            id="huge",
        ),
    ],
)
def test_nothing_else_is_kept(secret: bytes) -> None:
    noted = exchange_of(*one_phase(reply=Reply(parts=(secret,))))
    assert noted.answered[2].parts[0].kept == b""
    assert secret not in noted.to_line()


@settings(max_examples=8)
@given(data=st.data())
def test_a_line_reads_back_and_a_changed_one_never_silently(data: st.DataObject) -> None:
    noted = exchange_of(*one_phase())
    line = noted.to_line()
    assert Exchange.from_line(line) == noted
    at = data.draw(st.integers(0, len(line) - 1))
    changed = line[:at] + bytes([line[at] ^ data.draw(st.integers(1, 127))]) + line[at + 1 :]
    with contextlib.suppress(ReleaseBroken):
        assert Exchange.from_line(changed) != noted


@pytest.mark.parametrize("line", [b"", b"[]\n", b"{}\n", b"nonsense\n", b'{"phase":1}\n'])
def test_what_is_no_exchange_is_refused(line: bytes) -> None:
    with pytest.raises(ReleaseBroken):
        Exchange.from_line(line)


def test_a_part_cannot_claim_bytes_that_are_not_its_own() -> None:
    with pytest.raises(ConfigError):
        Part(digest=payload_digest(b"a"), size=1, kept=b"b")


def test_phases_are_noted_before_the_generator_goes_on() -> None:
    phase, replies = one_phase()
    noted: list[Exchange] = []

    def steps() -> Steps[int]:
        yield phase
        assert len(noted) == 1
        yield phase
        return 7

    wrapped = witnessed(steps(), noted.append)
    next(wrapped)
    wrapped.send(replies)
    with pytest.raises(StopIteration) as end:
        wrapped.send(replies)
    assert (end.value.value, len(noted)) == (7, 2)
