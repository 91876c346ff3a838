"""Verifies a release offline: walks through all of it and names the first thing that does not hold.

Threat model: the bundle comes from a coordinator that may have altered, left out, reordered or replayed
anything and signed the manifest anew. What provinces signed it cannot change. The reader trusts one thing:
the digest of the roster, got from a province or by another way than the bundle. What a coordinator can still
hide from a single reader is said in the bundle's README (`fedmed.release.bundle`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import numpy as np

from fedmed import wire
from fedmed.errors import FedMedError, ReleaseBroken
from fedmed.messages import NO_EPOCH
from fedmed.programs.by_kind import program_for
from fedmed.programs.contract import Arrays, OpenedSum, decoded, same_bytes
from fedmed.programs.regression import at_inputs
from fedmed.protocol import envelope
from fedmed.protocol.schedule import Schedule, Terms, schedule_for, terms_for
from fedmed.protocol.steps import PhaseKind
from fedmed.release.answered import result_holds
from fedmed.release.audit import follow_audit
from fedmed.release.bundle import (
    INPUTS,
    MANIFEST,
    SUMS,
    Release,
    check_manifest,
    read_release,
    read_roster,
    read_vectors,
)
from fedmed.release.ceremony import follow_ceremony
from fedmed.release.exchange import Exchange, is_ceremony
from fedmed.release.found import Verified
from fedmed.release.rounds import Rounds, follow_contribution, follow_nonces, follow_opening
from fedmed.release.sums import sums_hold
from fedmed.release.trail import Trail, answers_of_all, asked_of_all, named, need, take_nonce
from fedmed.release.trained import model_holds
from fedmed.report.units import plural
from fedmed.study import RegressionStudy, TrainingStudy
from fedmed.types import FloatArray

INPUTS_TOLERANCE: Final = 1e-6
"""Newton's step is linear algebra, whose last digits differ from machine to machine."""


def verify(files: Mapping[str, bytes], *, roster_digest: bytes | None = None) -> Iterator[Verified]:
    """Verify a release.

    Args:
        files: The bundle: bytes of each file, by name.
        roster_digest: The roster that the reader trusts; None takes the bundle's own, and then a forger's
            bundle of his own making verifies too.

    Yields:
        Each thing that holds, in the order in which it was checked.

    Raises:
        ReleaseBroken: the first thing that does not hold.
        UnknownVersion: the release has another format.

    Guarantees:
        A bundle in which any file was altered, or any exchange was dropped, doubled, reordered or taken from
        elsewhere, is refused, even if the coordinator itself did so and signed the manifest anew. The one
        exception is what a step's ``rests`` names: that rests on the coordinator's word. Under scheme
        ``threshold`` no opened sum is among it, unless payloads are too large for a release; the last sum
        never is.
    """
    roster = read_roster(files)
    own = wire.roster_digest(roster)
    if roster_digest is not None and own != roster_digest:
        raise ReleaseBroken(
            f"the roster of this release is {own.hex()}, not the one that you trust: others than those whom "
            "you know may have signed it"
        )
    how = "assumed from the bundle: compare it with a province's" if roster_digest is None else "as you gave"
    yield Verified(name="roster", detail=f"{own.hex()}\n{how}")
    check_manifest(files, roster)
    yield Verified(
        name="manifest", detail=f"{len(files)} files, {MANIFEST} signed by {roster.coordinator.name}"
    )
    release = read_release(files)
    yield Verified(
        name="study",
        detail=f"{release.spec.id}, {release.study_digest.hex()}, {len(release.spec.nodes)} nodes",
    )
    _check_exchanges(release)
    try:
        yield from _follow(release)
    except ReleaseBroken:
        raise
    except FedMedError as fault:  # a rule whose place nobody named
        raise ReleaseBroken(f"{fault.code}: {fault}") from fault


def _check_exchanges(release: Release) -> None:
    """Every phase has a name and speaks to members of the roster only."""
    for number, exchange in enumerate(release.exchanges, start=1):
        points = {*exchange.asked, *exchange.answered}
        with named(f"phase {number}"):
            need(bool(exchange.name.strip()), "it has no name")
            need(points <= set(release.roster.points), "it names a point outside the roster")


def _follow(release: Release) -> Iterator[Verified]:
    """Everything after the files themselves."""
    with named("study"):
        schedule = schedule_for(release.spec)
    trail = Trail.begin(release.roster, today=release.ended.date())
    exchanges = release.exchanges
    count = next((at for at, e in enumerate(exchanges) if not is_ceremony(e)), len(exchanges))
    epoch_id = NO_EPOCH
    scheme = release.spec.aggregation.scheme
    if scheme.has_keys:
        held = follow_ceremony(trail, exchanges[:count], roster_digest=release.roster_digest, scheme=scheme)
        trail, epoch_id = held.trail, held.epoch_id
        signed = f"{len(release.roster.members)} signatures, {plural(held.rehearsals, 'rehearsal')}"
        yield Verified(name="ceremony", detail=f"epoch {epoch_id.hex()[:16]}, {signed}")
    else:
        need(count == 0, "a ceremony does not belong to this study")
    need(len(exchanges) > count + 1, "the proposal or the end of the study is missing")
    terms = _terms(release, schedule, epoch_id)
    trail = _proposed(release, trail, exchanges[count], epoch_id=epoch_id, sealed=terms.canaries > 0)
    yield Verified(name="proposal", detail=f"accepted by {len(release.roster.members)} provinces")
    walk = _Walk(release)
    rounds = walk.rounds(Rounds(trail=trail, terms=terms), exchanges[count + 1 : -1])
    yield from _told_of_rounds(rounds)
    yield sums_hold(release, rounds)
    _closed(release, rounds, exchanges[-1])
    yield Verified(name="end", detail="the coordinator ended the study and its keys")
    if terms.canaries:
        with named("audit"):
            found = follow_audit(
                rounds, release.sums, schedule=schedule, proposal=exchanges[count], end=exchanges[-1]
            )
        told = f"{len(found.scores)} canaries of {plural(len(found.nodes), 'province')}"
        yield Verified(name="audit", detail=f"{told}, coins as sealed, {len(found.checks)} checks hold")
    if isinstance(release.spec, TrainingStudy):
        yield from model_holds(release, release.spec, schedule=schedule, rounds=rounds, state=walk.state)
    else:
        yield from result_holds(release, schedule=schedule, rounds=rounds, state=walk.state)


def _terms(release: Release, schedule: Schedule, epoch_id: bytes) -> Terms:
    """What every plan must say, worked out from the study anew."""
    digests = (release.study_digest, release.roster_digest, epoch_id)
    with named("study"):
        return terms_for(release.spec, schedule, release.roster, digests=digests)


def _proposed(release: Release, trail: Trail, exchange: Exchange, *, epoch_id: bytes, sealed: bool) -> Trail:
    """The study was proposed to all custodians under this epoch, and all accepted it."""
    with named("proposal"):
        need(exchange.kind is PhaseKind.PROPOSE, "the study was not proposed after the ceremony")
        (signed,) = asked_of_all(trail.roster, exchange, 1)
        statement = trail.hear_coordinator(signed, envelope.STUDY, context=release.study_digest)
        proposal = wire.decode_proposal(statement.content)
        need(proposal.canonical == release.canonical, "another study was proposed")
        need(proposal.roster_digest == release.roster_digest, "it was proposed under another roster")
        need(proposal.epoch_id == epoch_id, "it was proposed under another key epoch")
        for point, (part, *_) in answers_of_all(trail.roster, exchange, 2 if sealed else 1).items():
            trail = take_nonce(trail, point, part, context=release.study_digest)
    return trail


def read_inputs(release: Release) -> tuple[FloatArray, ...]:
    """What each round of a regression computed on; other kinds need none. Raises `ReleaseBroken`."""
    if not isinstance(release.spec, RegressionStudy):
        return ()
    return read_vectors(release.files, INPUTS, np.float64)


def check_inputs(sent: FloatArray, due: FloatArray) -> None:
    """A point that was sent is the one that the sums give, up to the arithmetic of another machine.

    Raises:
        ReleaseBroken: it has another length, or a coordinate differs by more than `INPUTS_TOLERANCE`.
    """
    need(len(sent) == len(due), "it has another length")
    near = np.allclose(sent, due, rtol=INPUTS_TOLERANCE, atol=INPUTS_TOLERANCE)
    need(near, "it is not what the sums so far give")


class _Walk:
    """Follows the rounds and takes the program's steps alongside, so that inputs can be checked."""

    def __init__(self, release: Release) -> None:
        self._release = release
        self._program = program_for(release.spec)
        self._sent = read_inputs(release)
        self.state: Arrays = self._program.begin()

    def rounds(self, rounds: Rounds, exchanges: tuple[Exchange, ...]) -> Rounds:
        """Follow all phases between proposal and end; the state is then the one after the last sum."""
        stepped = 0
        for exchange in exchanges:
            if exchange.kind is PhaseKind.CONTRIBUTE:
                # A sum is stepped over when the next plan needs it: an attempt may have been repeated.
                while stepped < min(rounds.round_number - 1, len(rounds.opened)):
                    self._step(rounds, stepped)
                    stepped += 1
                due = min(stepped + 1, rounds.terms.aggregations)
                rounds = follow_contribution(rounds, exchange, inputs=self._inputs(rounds, due))
            elif exchange.kind is PhaseKind.OPEN:
                rounds = follow_opening(rounds, exchange)
            else:
                need(exchange.kind is PhaseKind.NONCE, f"{exchange.name} does not belong between the rounds")
                rounds = follow_nonces(rounds, exchange)
        planned, opened = rounds.terms.aggregations, len(rounds.opened)
        need(opened <= planned, f"{opened} aggregations are opened, the study plans {planned}")
        need(len(self._release.sums) == opened, f"{SUMS} holds {len(self._release.sums)} sums, not {opened}")
        for at in range(stepped, opened):
            self._step(rounds, at)
        ended = opened == planned or self._program.is_finished(self.state)
        need(ended, f"{opened} aggregations are opened, the study plans {planned}")
        return rounds

    def _inputs(self, rounds: Rounds, due: int) -> bytes:
        """What the next plan must compute on; a regression goes on from the very point that was sent."""
        own = self._program.inputs(self.state, rounds.terms.stage(due))
        if not isinstance(self._release.spec, RegressionStudy):
            return own
        with named(f"{INPUTS}, round {due}"):
            need(due <= len(self._sent), "it is missing")
            sent: FloatArray = self._sent[due - 1]
            check_inputs(sent, np.frombuffer(own, dtype="<f8"))
        self.state = at_inputs(self.state, sent)
        return same_bytes(sent)

    def _step(self, rounds: Rounds, at: int) -> None:
        """Decode one opened sum and take the program's step."""
        contributors, stage = rounds.opened[at].contributors, rounds.terms.stage(at + 1)
        with named(f"{SUMS}, aggregation {at + 1}"):
            need(at < len(self._release.sums), "it is missing")
            values = decoded(self._release.sums[at], stage, contributors=len(contributors))
        opened = OpenedSum(stage=stage, round_number=at + 1, values=values, contributors=contributors)
        self.state = self._program.absorb(self.state, opened)


def _told_of_rounds(rounds: Rounds) -> Iterator[Verified]:
    """What holds of the rounds, in figures."""
    attempts, opened = rounds.attempts, rounds.opened
    most = rounds.terms.most_plans
    yield Verified(name="plans", detail=f"{len(attempts)} of at most {most}, for {len(opened)} aggregations")
    headers = sum(len(a.headers) for a in attempts)
    yield Verified(
        name="contributions", detail=f"{headers} signed headers, layout and noise as the study gives"
    )
    sets = dict.fromkeys(a.contributors for a in opened)
    words = ", then ".join(str(len(s)) for s in sets)
    yield Verified(
        name="openings", detail=f"{words} contributors, {rounds.terms.roster.threshold} openers each"
    )
    trail = rounds.trail
    words = ", ".join(f"{trail.roster.member(p).name} {w.head.counter}" for p, w in trail.custodians.items())
    yield Verified(name="audit heads", detail=f"only growing, no fork; last counters: {words}")


def _closed(release: Release, rounds: Rounds, exchange: Exchange) -> None:
    """The coordinator ended this study and this epoch for everybody."""
    with named("end of the study"):
        need(exchange.kind is PhaseKind.CLOSE, "the study was not ended")
        (signed,) = asked_of_all(release.roster, exchange, 1)
        statement = rounds.trail.hear_coordinator(signed, envelope.STUDY_END, context=release.study_digest)
        need(statement.content == rounds.terms.epoch_id, "another key epoch was ended")
