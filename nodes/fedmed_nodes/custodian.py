"""The custodian: the only thing at a province that touches rows, keys and budget.

Threat model: whoever relays messages to it (Flower's ClientApp, the coordinator, other provinces) may
send anything. It answers with parts or with a code, never with a text. Every message is checked
completely before the first state change; the state is on disk before anything is computed or leaves.
It protects provinces from others, not a province from its own administrator.

Source: PROTOCOL.md sections 3, 4 and 6.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from fedmed import wire
from fedmed.aggregation.contract import Opening
from fedmed.aggregation.encoding import encode
from fedmed.crypto.identity import Identity
from fedmed.errors import FedMedError, IntegrityError, MessageMalformed, RestoredFromBackup
from fedmed.governance.audit_chain import AuditKind
from fedmed.governance.policy import Grades, Policy
from fedmed.messages import NO_EPOCH, Answer, Header, OpeningRequest, Roster
from fedmed.plans.stage import Stage
from fedmed.privacy.noise import ByteSource, fresh_source, noise_share
from fedmed.protocol import envelope, node_round
from fedmed.protocol.binding import headers_digest, payload_digest, plan_digest
from fedmed.protocol.node_ceremony import Seat
from fedmed.protocol.node_round import Circumstances, SignedPlan, StudyState
from fedmed.protocol.schedule import Terms, chunk_count
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed.types import NONCE_BYTES, FloatArray, IntArray, Layout, WordArray
from fedmed_nodes.canary_desk import CanaryDesk
from fedmed_nodes.ceremony_desk import CeremonyDesk, epoch_key
from fedmed_nodes.clock import Clock, SystemClock
from fedmed_nodes.contributors import Contributors
from fedmed_nodes.inputs import check_end, check_inputs, read_inputs
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.parts import pack_parts, unpack_parts
from fedmed_nodes.refusals import refusal_words, refused_study
from fedmed_nodes.rollback import proves_rollback
from fedmed_nodes.sources import RowSource
from fedmed_nodes.stores import CustodianStore, SecretStore
from fedmed_nodes.study_desk import Study, StudyDesk, charge_for
from fedmed_nodes.study_keys import study_key


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the operator decides.

    Attributes:
        identity: The province's private keys.
        roster: The roster that the operator pinned.
        policy: The province's policy.
        datasets: Registered datasets by name.
        grades: Grades of each dataset's columns, as far as the operator gave any.
        response_tick_s: Contributions and answers leave at the next multiple of this; 0 in simulations.
    """

    identity: Identity
    roster: Roster
    policy: Policy
    datasets: Mapping[str, RowSource]
    grades: Mapping[str, Grades] = field(default_factory=dict)
    response_tick_s: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Effects:
    """Disk, time and randomness of a custodian.

    Attributes:
        store: Values, ledger and audit chain.
        secrets: Key shares.
        clock: Time.
        entropy: Bytes for keys, nonces, errors and smudging.
        noise: Makes a fresh source for the noise of one release.
    """

    store: CustodianStore
    secrets: SecretStore
    clock: Clock = field(default_factory=SystemClock)
    entropy: ByteSource = os.urandom
    noise: Callable[[], ByteSource] = fresh_source


class Custodian:
    """Answers the phases of the protocol for one province."""

    def __init__(self, settings: Settings, effects: Effects) -> None:
        roster = settings.roster
        self._seat = Seat(
            identity=settings.identity,
            roster=roster,
            roster_digest=wire.roster_digest(roster),
            point=roster.point_of(settings.identity.name),
        )
        self._settings = settings
        self._effects = effects
        self._lock = threading.RLock()
        self._logbook = Logbook(effects.store, settings.identity, effects.clock)
        self._ceremonies = CeremonyDesk(
            self._seat,
            logbook=self._logbook,
            secrets=effects.secrets,
            clock=effects.clock,
            entropy=effects.entropy,
            policy=settings.policy,
        )
        self._studies = StudyDesk(
            self._seat,
            policy=settings.policy,
            datasets=settings.datasets,
            logbook=self._logbook,
            ceremonies=self._ceremonies,
            clock=effects.clock,
            grades=settings.grades,
        )
        self._canaries = CanaryDesk(self._seat, self._logbook, effects.entropy)
        # In memory only: a restart voids nonces and forgets which plans were accepted (PROTOCOL.md 4).
        self._nonces: dict[bytes, bytes] = {}
        self._accepted: frozenset[bytes] = frozenset()
        self._rehearsal: Terms | None = None
        self._contributors = Contributors(self._ceremonies, effects.entropy)

    @property
    def studies(self) -> StudyDesk:
        """The operator's desk: approve, mark restored."""
        return self._studies

    @property
    def logbook(self) -> Logbook:
        """The hand on the store; whoever writes with it excludes messages meanwhile, as `Office` does."""
        return self._logbook

    def answer(self, kind: PhaseKind, parts: Sequence[bytes]) -> Reply:
        """Answer one message; never raises, and a refusal is a code without a text.

        Args:
            kind: Which phase.
            parts: The message's parts.

        Returns:
            Parts, or the code of the refusal. Refusals change nothing but the audit log.
        """
        handlers: dict[PhaseKind, Callable[[Sequence[bytes]], tuple[bytes, ...]]] = {
            PhaseKind.CEREMONY: self._ceremony,
            PhaseKind.PROPOSE: self._propose,
            PhaseKind.NONCE: self._nonce,
            PhaseKind.CONTRIBUTE: self._contribute,
            PhaseKind.OPEN: self._open,
            PhaseKind.CLOSE: self._close,
        }
        with self._lock:
            try:
                reply = Reply(parts=handlers[kind](parts))
            except FedMedError as refusal:
                self._record_refusal(kind, parts, refusal)
                return Reply(code=refusal.code)
            except Exception:  # an unexpected text could carry a patient's value: only the code leaves
                self._record_refusal(kind, parts, FedMedError())
                return Reply(code=FedMedError.code)
        if kind in (PhaseKind.CONTRIBUTE, PhaseKind.OPEN):
            self._effects.clock.wait_for_tick(self._settings.response_tick_s)
        return reply

    def _record_refusal(self, kind: PhaseKind, parts: Sequence[bytes], refusal: FedMedError) -> None:
        """One audit entry for a refusal, with study and rule; a store that cannot write hides no code."""
        with contextlib.suppress(Exception):  # whatever the store raises, its text stays here
            study = refused_study(kind, parts, self._seat.roster.coordinator)
            words = refusal_words(kind, parts if study else (), refusal)
            self._logbook.write(AuditKind.REFUSED, study=study, code=refusal.code, detail=words)

    # --- Ceremony, proposal, nonce ---------------------------------------------------------------------

    def _ceremony(self, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        """One step of a ceremony; the first part names it. What fails stops the ceremony for good."""
        if not parts:
            raise MessageMalformed("a ceremony message needs a step")
        name, rest = parts[0].decode("ascii", errors="replace"), parts[1:]
        try:
            return self._ceremony_step(name, rest)
        except Exception:
            self._ceremonies.stop()
            self._forget_rehearsal("ceremony stopped")
            raise

    def _ceremony_step(self, name: str, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        """Hand a step to its desk; the custodian itself only keeps the terms of the rehearsals."""
        if name == "agree":
            self._rehearsal = self._ceremonies.agree(parts)
            return (self._fresh_nonce(self._rehearsal.study_digest),)
        if name == "start":
            self._forget_rehearsal("ceremony begun anew")
        answer = self._ceremonies.step(name, parts)
        if name in ("conclude", "end"):
            self._forget_rehearsal("rehearsals removed")
        if name == "end":
            self._contributors.clear()  # keys in memory go with those on disk; others are read again
        return answer

    def _forget_rehearsal(self, why: str) -> None:
        """End the rehearsals: their stored bytes, nonce and keys in memory serve nothing any more."""
        if self._rehearsal is None:
            return
        terms, self._rehearsal = self._rehearsal, None
        self._nonces.pop(terms.study_digest, None)
        self._contributors.forget(terms.epoch_id)
        names = ("state", "contribution", "answer")
        deletes = frozenset(study_key(terms.study_digest, n) for n in names)
        self._logbook.write(AuditKind.CEREMONY, detail=why, deletes=deletes)

    def _propose(self, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        """Judge a study; the answer carries its first nonce, and the seal on its canaries if it has any."""
        if len(parts) != 1:
            raise MessageMalformed("a proposal has one part")
        digest = self._studies.propose(parts[0])
        return (self._fresh_nonce(digest), *self._canaries.seal(self._terms(digest)))

    def _nonce(self, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        """Replace the open nonce of a study; the old one is void."""
        if len(parts) != 1:
            raise MessageMalformed("a nonce request has one part")
        seat = self._seat
        statement = envelope.open_message(
            parts[0], envelope.NONCE, seat.roster.coordinator, context=None, receiver=seat.identity.name
        )
        self._terms(statement.context)
        return (self._fresh_nonce(statement.context),)

    def _close(self, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        """The study is over: destroy the keys of its epoch, and show the coins of its canaries."""
        if len(parts) != 1:
            raise MessageMalformed("the end of a study has one part")
        statement = envelope.open_message(
            parts[0], envelope.STUDY_END, self._seat.roster.coordinator, context=None
        )
        terms = self._studies.get(statement.context).terms
        check_end(statement.content, terms)
        self._nonces.pop(terms.study_digest, None)
        self._contributors.forget(terms.epoch_id)
        if terms.epoch_id != NO_EPOCH:
            self._ceremonies.destroy(terms.epoch_id)
        self._logbook.write(AuditKind.EPOCH_DESTROYED, study=terms.study_digest)
        return (b"closed", *self._canaries.reveal(terms))

    def _fresh_nonce(self, study_digest: bytes) -> bytes:
        """Open a nonce for a study and sign it."""
        nonce = self._new_nonce(study_digest)
        return envelope.sign_message(
            self._seat.identity,
            envelope.NONCE,
            wire.encode_nonce(nonce),
            context=study_digest,
            receiver=self._seat.coordinator,
            position=self._logbook.position,
        )

    def _new_nonce(self, study_digest: bytes) -> bytes:
        """Draw the one open nonce of a study; in memory only."""
        self._nonces[study_digest] = self._effects.entropy(NONCE_BYTES)
        return self._nonces[study_digest]

    # --- Contribute ------------------------------------------------------------------------------------

    def _contribute(self, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        """Check the plan, debit, compute, sign; the same plan again gets the stored bytes."""
        if len(parts) != 2:
            raise MessageMalformed("a contribution is asked for with a plan and its inputs")
        signed, terms = self._read_plan(parts[0])
        state = self._state(terms)
        if signed.digest == state.plan_digest and state.header:
            stored = self._stored(terms, "contribution")
            self._logbook.write(AuditKind.RESENT, study=terms.study_digest, detail="contribution")
            return stored
        node_round.check_contributing(state, self._circumstances(terms))
        accepted = node_round.accept_plan(terms, state, signed, now=self._circumstances(terms))
        check_inputs(signed, parts[1])
        study, stage = self._study(terms), terms.stage(signed.plan.round_number)
        inputs = read_inputs(stage, parts[1])
        if study is not None:
            study.half.check_inputs(stage, inputs)
        # Keys that were destroyed are refused before the debit.
        contributor = self._contributors.of(terms.epoch_id)
        self._accept(terms, signed, accepted, study)
        fields = self._fields(study, stage, inputs)
        chunks = contributor.contribute(fields, plan_digest=signed.digest, layout=stage.layout)
        return self._send_contribution(terms, accepted, chunks)

    def _accept(self, terms: Terms, signed: SignedPlan, accepted: StudyState, study: Study | None) -> None:
        """Write the accepted plan and its debit, in one batch, before a row is read."""
        charge = () if study is None else (charge_for(study, signed, recorded_at=self._logbook.now()),)
        self._logbook.write(
            AuditKind.ACCEPTED,
            study=terms.study_digest,
            detail=f"plan of round {accepted.last[0]} of {terms.aggregations} attempt {accepted.last[1]}",
            puts={study_key(terms.study_digest, "state"): accepted.to_bytes()},
            deletes=frozenset(study_key(terms.study_digest, n) for n in ("contribution", "answer")),
            ledger=charge,
        )
        self._nonces.pop(terms.study_digest, None)
        self._accepted |= {signed.digest}
        if terms.is_rehearsal:
            self._ceremonies.note_rehearsal(signed.digest)

    def _fields(self, study: Study | None, stage: Stage, inputs: FloatArray) -> WordArray:
        """This node's bounded sum plus its share of the noise, encoded; zeros in a rehearsal."""
        if study is None:
            return np.zeros(stage.layout.values, dtype=np.uint64)
        canaries = self._canaries.present(study.terms, stage)
        answer = self._studies.answer(study.terms.study_digest, stage, inputs, canaries=canaries)
        return encode(answer, self._noise(stage.layout), stage.layout, clip_norm=stage.clip_norm)

    def _noise(self, layout: Layout) -> IntArray:
        """This node's share of the noise, fresh for every release; zeros where there is none."""
        return noise_share(layout.noise_scale, layout.values, source=self._effects.noise)

    def _send_contribution(
        self, terms: Terms, accepted: StudyState, chunks: tuple[bytes, ...]
    ) -> tuple[bytes, ...]:
        """Sign the header and keep the exact bytes before they leave."""
        header = Header(
            chunk_digests=tuple(payload_digest(c) for c in chunks),
            next_nonce=self._new_nonce(terms.study_digest),
        )
        signed = envelope.sign_message(
            self._seat.identity,
            envelope.HEADER,
            wire.encode_header(header),
            context=accepted.plan_digest,
            receiver=self._seat.coordinator,
            position=self._logbook.position,
        )
        parts = (signed, *chunks)
        self._logbook.write(
            AuditKind.CONTRIBUTED,
            study=terms.study_digest,
            puts={
                study_key(terms.study_digest, "state"): replace(accepted, header=signed).to_bytes(),
                study_key(terms.study_digest, "contribution"): pack_parts(parts),
            },
        )
        return parts

    # --- Open ------------------------------------------------------------------------------------------

    def _open(self, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        """Check the set, write the answer to disk, send it; the same question gets the stored bytes."""
        if len(parts) < 2:
            raise MessageMalformed("an opening is asked for with a request, its plan and what it opens")
        signed, terms = self._read_plan(parts[1])
        request = self._read_request(parts[0], signed)
        state = self._state(terms)
        if node_round.is_repeat(state, request, signed.digest):
            stored = self._stored(terms, "answer")
            self._logbook.write(AuditKind.RESENT, study=terms.study_digest, detail="answer")
            return stored
        self._notice_rollback(terms, state, request)
        answered = self._accept_opening(terms, state, signed, request)
        self._studies.check_set(terms.study_digest, request.contributors)
        chunks = self._contributors.of(terms.epoch_id).open(
            Opening(
                plan_digest=signed.digest,
                layout=terms.stage(signed.plan.round_number).layout,
                contributors=request.contributors,
                openers=request.openers,
                headers_digest=headers_digest(request.headers),
                sums=parts[2:],
            )
        )
        return self._send_answer(terms, signed, answered, chunks)

    def _notice_rollback(self, terms: Terms, state: StudyState, request: OpeningRequest) -> None:
        """Refuse all studies begun so far once a header shows that this custodian's store was set back."""
        seat = self._seat
        given = dict(zip(request.contributors, request.headers, strict=False)).get(seat.point)
        if given is None or given == state.header:
            return
        if proves_rollback(self._effects.store, seat.roster, point=seat.point, header=given):
            if not self._studies.is_restored(terms.study_digest):
                self._studies.mark_restored()
                self._contributors.clear()
            raise RestoredFromBackup("a header of this custodian is later than all that its store knows")

    def _accept_opening(
        self, terms: Terms, state: StudyState, signed: SignedPlan, request: OpeningRequest
    ) -> StudyState:
        """The state in which the request is answered; nothing is changed yet."""
        now = self._circumstances(terms)
        if signed.digest != state.plan_digest:
            # A custodian that only answers takes the plan together with the headers: no debit, no inputs.
            state = node_round.accept_plan(terms, state, signed, now=now)
            now = replace(now, accepted_here=now.accepted_here | {signed.digest})
        return node_round.accept_opening(terms, state, signed, request, now=now)

    def _send_answer(
        self, terms: Terms, signed: SignedPlan, answered: StudyState, chunks: tuple[bytes, ...]
    ) -> tuple[bytes, ...]:
        """Sign the answer and write "answered (S, T)" with the exact bytes before they leave."""
        digest, sets = terms.study_digest, answered.answered
        if sets is None:
            raise MessageMalformed("an answer needs the set that it answers")
        nonce = self._nonces.get(digest, b"")
        if not nonce or signed.digest not in self._accepted:  # a plan that is accepted here uses its nonce up
            nonce = self._effects.entropy(NONCE_BYTES)
        answer = Answer(
            contributors=sets.contributors,
            openers=sets.openers,
            chunk_digests=tuple(payload_digest(c) for c in chunks),
            next_nonce=nonce,
        )
        envelope_bytes = envelope.sign_message(
            self._seat.identity,
            envelope.ANSWER,
            wire.encode_answer(answer),
            context=signed.digest,
            receiver=self._seat.coordinator,
            position=self._logbook.position,
        )
        parts = (envelope_bytes, *chunks)
        puts = {
            study_key(digest, "state"): answered.to_bytes(),
            study_key(digest, "answer"): pack_parts(parts),
            **self._studies.puts_of_answer(digest),
        }
        if terms.epoch_id != NO_EPOCH:
            record = self._ceremonies.record(terms.epoch_id)
            opened = record.polynomials_opened + chunk_count(terms.stage(signed.plan.round_number).layout)
            puts[epoch_key(terms.epoch_id)] = replace(record, polynomials_opened=opened).to_bytes()
        self._logbook.write(AuditKind.OPENED, study=digest, puts=puts)
        self._nonces[digest] = nonce
        self._accepted |= {signed.digest}
        return parts

    # --- Reading ---------------------------------------------------------------------------------------

    def _read_plan(self, data: bytes) -> tuple[SignedPlan, Terms]:
        """Check a plan's signature and find the study that it belongs to."""
        statement = envelope.open_message(data, envelope.PLAN, self._seat.roster.coordinator, context=None)
        plan = wire.decode_plan(statement.content)
        envelope.check_context(statement, plan.study_digest)
        terms = self._terms(plan.study_digest)
        self._canaries.require_unseen(terms)
        return SignedPlan(plan=plan, digest=plan_digest(data)), terms

    def _read_request(self, data: bytes, signed: SignedPlan) -> OpeningRequest:
        """Check an opening request's signature, plan and receiver."""
        statement = envelope.open_message(
            data,
            envelope.OPENING_REQUEST,
            self._seat.roster.coordinator,
            context=signed.digest,
            receiver=self._seat.identity.name,
        )
        return wire.decode_opening_request(statement.content)

    def _terms(self, study_digest: bytes) -> Terms:
        """The terms of an approved study, or of the rehearsal under way."""
        if self._rehearsal is not None and study_digest == self._rehearsal.study_digest:
            return self._rehearsal
        return self._studies.get(study_digest).terms

    def _study(self, terms: Terms) -> Study | None:
        """The study, None in a rehearsal."""
        return None if terms.is_rehearsal else self._studies.get(terms.study_digest)

    def _state(self, terms: Terms) -> StudyState:
        """What is remembered of a study."""
        data = self._logbook.get(study_key(terms.study_digest, "state"))
        return StudyState() if data is None else StudyState.from_bytes(data)

    def _stored(self, terms: Terms, name: str) -> tuple[bytes, ...]:
        """Stored bytes of the last accepted plan, written with its state: ``contribution`` or ``answer``."""
        data = self._logbook.get(study_key(terms.study_digest, name))
        if data is None:
            raise IntegrityError(f"the stored {name} is missing although the state names it")
        return unpack_parts(data)

    def _circumstances(self, terms: Terms) -> Circumstances:
        """What the rules need besides the study's state."""
        has_epoch = terms.epoch_id != NO_EPOCH
        record = self._ceremonies.record(terms.epoch_id) if has_epoch else None
        return Circumstances(
            point=self._seat.point,
            nonce=self._nonces.get(terms.study_digest, b""),
            today=self._effects.clock.now().date(),
            restored=self._studies.is_restored(terms.study_digest),
            accepted_here=self._accepted,
            polynomials_opened=0 if record is None else record.polynomials_opened,
        )
