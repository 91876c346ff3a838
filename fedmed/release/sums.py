"""The opened sums of a release, added up again from what provinces signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from fedmed.aggregation.ckks_answers import ANSWER_BYTES, read_answers
from fedmed.aggregation.combiners import combiner_for
from fedmed.aggregation.encoding import chunk_values
from fedmed.crypto.lattice_public import RESIDUE_BYTES, chunks_of
from fedmed.crypto.parameters import PRIMES
from fedmed.protocol.binding import payload_digest
from fedmed.release.bundle import PAYLOADS, SUMS, Release, read_payloads
from fedmed.release.exchange import Part
from fedmed.release.found import Verified
from fedmed.release.payloads import Payloads, fitting
from fedmed.release.rounds import Attempt, Rounds
from fedmed.release.trail import named, need
from fedmed.types import Layout, Scheme, WordArray

_RESTS: Final[Mapping[Scheme, str]] = {
    Scheme.THRESHOLD: "",
    Scheme.CKKS: "that the openers were shown the sum of these contributions (scheme ckks): their check "
    "holds against a coordinator that has the keys of no province",
    Scheme.PLAIN: "the opened sums, and with them the whole outcome: scheme plain has no openings, and its "
    "contributions hide nothing, so none is in a release",
}
"""What rests on the coordinator's word, by scheme."""


def sums_hold(release: Release, rounds: Rounds) -> Verified:
    """The opened sums are what the signed contributions and answers give.

    Args:
        release: The release.
        rounds: All its rounds, followed; one sum of the release for each that opened.

    Returns:
        How many sums were worked out again, and what rests on the coordinator's word.

    Raises:
        ReleaseBroken: names the sum that is another, or the payload that is missing or not the signed one.

    Guarantees:
        Which sums payloads are too large for follows from the study alone: of a size nobody signed anything,
        so one that the layout does not give is refused.
    """
    scheme, opened = release.spec.aggregation.scheme, rounds.opened
    if not scheme.has_keys:
        return Verified(name="sums", detail="none recomputed", rests=_RESTS[scheme])
    _sizes_fit(rounds, scheme)
    newest = reversed(list(enumerate(opened)))
    covered = fitting(newest, lambda one: sum(_sizes(one[1], scheme).values()))
    with named(PAYLOADS):
        payloads = read_payloads(release.files)
        due = {name for _, attempt in covered for name in _sizes(attempt, scheme)}
        need(set(payloads) == due, "it does not hold the payloads of the sums, all of them and no others")
        for name, data in payloads.items():
            need(payload_digest(data).hex() == name, f"a payload is not the one that is signed: {name}")
    for at, attempt in covered:
        layout = rounds.terms.stage(at + 1).layout
        with named(f"{SUMS}, aggregation {at + 1}"):
            same = _sum(attempt, payloads, layout=layout, scheme=scheme) == _as_bytes(release.sums[at])
            need(same, "it is not what the signed contributions and answers give")
    return _told(len(covered), len(opened), scheme=scheme)


def _told(covered: int, opened: int, *, scheme: Scheme) -> Verified:
    """What was worked out again, in words."""
    source = "contributions and answers" if scheme is Scheme.THRESHOLD else "answers of all openers"
    rests = [_RESTS[scheme]] if _RESTS[scheme] else []
    if covered < opened:
        rests.append(f"the first {opened - covered} of {opened} opened sums: payloads of more are too large")
    return Verified(
        name="sums",
        detail=f"{covered} of {opened} computed again from the signed {source}",
        rests="; ".join(rests),
    )


def _sizes(attempt: Attempt, scheme: Scheme) -> dict[str, int]:
    """The payloads of an opened attempt that a release carries: digest and size."""
    return {part.digest.hex(): part.size for parts in _groups(attempt, scheme) for part in parts}


def _groups(attempt: Attempt, scheme: Scheme) -> list[Sequence[Part]]:
    """The same node by node: answers, and under ``threshold`` contributions."""
    groups: list[Sequence[Part]] = [attempt.answers[p] for p in sorted(attempt.answers)]
    if scheme is Scheme.THRESHOLD:
        groups += [attempt.contributions[p] for p in attempt.contributors]
    return groups


def _sizes_fit(rounds: Rounds, scheme: Scheme) -> None:
    """Every payload of every opened sum is told to be as large as its layout makes it."""
    for at, attempt in enumerate(rounds.opened):
        due = _due_sizes(rounds.terms.stage(at + 1).layout, scheme)
        with named(f"{SUMS}, aggregation {at + 1}"):
            told = {tuple(part.size for part in parts) for parts in _groups(attempt, scheme)}
            need(told == {due}, "the sizes told of its payloads are not those of the study's layout")


def _due_sizes(layout: Layout, scheme: Scheme) -> tuple[int, ...]:
    """Bytes of each chunk that one node answers, under ``threshold`` also of each that it contributes."""
    if scheme is Scheme.CKKS:
        return tuple(ANSWER_BYTES + 8 * values for values in chunk_values(layout))
    return tuple(len(PRIMES) * chunk.coefficients * RESIDUE_BYTES for chunk in chunks_of(layout))


def _sum(attempt: Attempt, payloads: Payloads, *, layout: Layout, scheme: Scheme) -> bytes:
    """The sum of one attempt, little-endian; raises `FedMedError`."""
    answers = [_bytes_of(parts, payloads) for parts in attempt.answers.values()]
    if scheme is Scheme.CKKS:
        return b"".join(read_answers(chunks) for chunks in zip(*answers, strict=True))
    total = combiner_for(scheme)(layout)
    for point in attempt.contributors:
        total.add_contribution(_bytes_of(attempt.contributions[point], payloads))
    for chunks in answers:
        total.add_opening(chunks)
    return _as_bytes(total.total())


def _bytes_of(parts: Sequence[Part], payloads: Payloads) -> tuple[bytes, ...]:
    """The bytes of signed payloads."""
    return tuple(payloads[part.digest.hex()] for part in parts)


def _as_bytes(fields: WordArray) -> bytes:
    """Fields as little-endian words of 8 bytes."""
    return np.ascontiguousarray(fields, dtype="<u8").tobytes()
