"""What binds messages to one another: digests of plans, inputs, headers and payloads, and headers' checks.

Both halves of the protocol use these, so that they cannot disagree on what a digest covers.
"""

from __future__ import annotations

from collections.abc import Sequence

from fedmed.errors import ChunkOutsidePlan, DigestMismatch, HeaderPlanMismatch, MessageMalformed
from fedmed.messages import Header, Rehearsals, Roster
from fedmed.protocol import envelope
from fedmed.types import Scheme, digest
from fedmed.wire import decode_header, decode_signed


def plan_digest(plan_envelope: bytes) -> bytes:
    """Digest of a signed plan: over its exact body bytes; raises `MessageMalformed`."""
    return digest("fedmed/plan", decode_signed(plan_envelope).body)


def inputs_digest(inputs: bytes) -> bytes:
    """Digest of a round's inputs, as the plan names it and the custodian recomputes it."""
    return digest("fedmed/inputs", inputs)


def headers_digest(headers: Sequence[bytes]) -> bytes:
    """Digest of all signed headers of S in order; part of the zero masks' tag."""
    return digest("fedmed/headers", *headers)


def epoch_id_of(roster_digest: bytes, nonces: Sequence[bytes], scheme: Scheme = Scheme.THRESHOLD) -> bytes:
    """The key epoch's name: hash of the n fresh ceremony nonces in the order of points, and of the scheme."""
    label = "fedmed/epoch" if scheme is Scheme.THRESHOLD else f"fedmed/epoch/{scheme.value}"
    return digest(label, roster_digest, *nonces)


def call_for(scheme: Scheme) -> bytes:
    """What the call to a ceremony says: the scheme whose keys are dealt, nothing for ``threshold``."""
    return b"" if scheme is Scheme.THRESHOLD else scheme.value.encode()


def called_for(content: bytes) -> Scheme:
    """The scheme that a call to a ceremony names; raises `MessageMalformed` for one that has no keys."""
    for scheme in Scheme:
        if scheme.has_keys and content == call_for(scheme):
            return scheme
    raise MessageMalformed("a ceremony deals keys of scheme threshold or ckks")


def transcript_of(epoch_id: bytes, dealings: Sequence[bytes]) -> bytes:
    """What all custodians sign in a ceremony: every signed dealing, and with it every sealed blob."""
    return digest("fedmed/transcript", epoch_id, *dealings)


def result_digest(transcript: bytes, result: Rehearsals) -> bytes:
    """What all custodians sign at the end: the transcript and the rehearsals."""
    return digest("fedmed/epoch-active", transcript, *result.plan_digests, *result.header_digests)


def payload_digest(chunk: bytes) -> bytes:
    """Digest of one chunk of a payload, as headers and answers name it."""
    return digest("fedmed/chunk", chunk)


def check_digests(chunks: Sequence[bytes], digests: Sequence[bytes]) -> None:
    """Every chunk has the digest that was signed for it; raises `DigestMismatch`."""
    if [payload_digest(c) for c in chunks] != list(digests):
        raise DigestMismatch("a payload does not have the digest that its sender signed")


def check_header_plan(named: bytes, this_digest: bytes) -> None:
    """A header names this plan; raises `HeaderPlanMismatch`."""
    if named != this_digest:
        raise HeaderPlanMismatch("a header names another plan")


def check_header_chunks(header: Header, chunks: int) -> None:
    """A header has one digest for each chunk of the layout; raises `ChunkOutsidePlan`."""
    if len(header.chunk_digests) != chunks:
        raise ChunkOutsidePlan(f"a header must name {chunks} chunks, got {len(header.chunk_digests)}")


def check_header(roster: Roster, data: bytes, *, point: int, this_digest: bytes, chunks: int) -> Header:
    """Check that a header is signed by the member at ``point`` and belongs to this plan.

    Args:
        roster: The pinned roster.
        data: The header's envelope.
        point: The contributor that it stands for.
        this_digest: `plan_digest` of the plan.
        chunks: Chunks of the plan's layout.

    Raises:
        SignatureInvalid: not signed by that member.
        HeaderPlanMismatch: another plan.
        ChunkOutsidePlan: another number of chunks than the layout has.
        MessageMalformed: not a header.
    """
    statement = envelope.open_message(
        data, envelope.HEADER, roster.member(point), context=None, receiver=roster.coordinator.name
    )
    check_header_plan(statement.context, this_digest)
    header = decode_header(statement.content)
    check_header_chunks(header, chunks)
    return header
