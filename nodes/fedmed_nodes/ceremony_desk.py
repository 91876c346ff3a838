"""Ceremonies and key epochs at a custodian: the steps in memory, the agreed keys in the secret store."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from fedmed.crypto.ckks_secret import CkksKeys, is_ckks
from fedmed.crypto.lattice_secret import EpochKeys
from fedmed.errors import CeremonyStopped, EpochMismatch, MessageMalformed, UnknownVersion
from fedmed.governance.audit_chain import AuditKind
from fedmed.governance.policy import Policy, check_scheme
from fedmed.protocol import node_ceremony as steps
from fedmed.protocol.node_ceremony import Dealt, Received, Seat, Started
from fedmed.protocol.schedule import Terms, rehearsal_terms
from fedmed.types import Scheme
from fedmed_nodes.clock import Clock
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.stores import SecretStore

EPOCH_VERSION = 2
_KNOWN_VERSIONS = (1, EPOCH_VERSION)
EPOCH_DAYS = 92
"""An epoch serves at most a quarter (PROTOCOL.md section 3)."""
S = TypeVar("S", Started, Dealt, Received)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """What is kept of an epoch in the store; the keys themselves are in the secret store.

    Attributes:
        is_active: All n custodians signed the result.
        polynomials_opened: Polynomials opened so far.
        last_day: Day after which the keys are destroyed, whoever forgot to end the epoch.
        scheme: Whose keys they are.
    """

    last_day: datetime.date
    is_active: bool = False
    polynomials_opened: int = 0
    scheme: Scheme = Scheme.THRESHOLD

    def to_bytes(self) -> bytes:
        """Versioned bytes for the store."""
        return json.dumps(
            {
                "version": EPOCH_VERSION,
                "active": self.is_active,
                "opened": self.polynomials_opened,
                "last_day": self.last_day.isoformat(),
                "scheme": self.scheme.value,
            }
        ).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> EpochRecord:
        """Read stored bytes; raises `UnknownVersion`."""
        d = json.loads(data)
        if d.get("version") not in _KNOWN_VERSIONS:
            raise UnknownVersion("this epoch's stored record was written by another version of FedMed")
        last_day = datetime.date.fromisoformat(d["last_day"])
        scheme = Scheme(d.get("scheme", Scheme.THRESHOLD.value))  # version 1 knew no other
        return cls(is_active=d["active"], polynomials_opened=d["opened"], last_day=last_day, scheme=scheme)


def epoch_key(epoch_id: bytes) -> str:
    """Store key of an epoch's record."""
    return f"epoch/{epoch_id.hex()}"


class CeremonyDesk:
    """Runs this custodian's half of a ceremony and hands out the keys of epochs.

    Any error stops the ceremony under way: its state is deleted, and a new one starts from the first step.
    """

    def __init__(
        self,
        seat: Seat,
        *,
        logbook: Logbook,
        secrets: SecretStore,
        clock: Clock,
        entropy: Callable[[int], bytes],
        policy: Policy,
    ) -> None:
        self._seat = seat
        self._policy = policy
        self._logbook = logbook
        self._secrets = secrets
        self._clock = clock
        self._entropy = entropy
        self._state: Started | Dealt | Received | None = None
        self._agreed = False
        self._confirmed = b""
        self._accepted: list[bytes] = []
        self._sweep(unfinished=True)

    def _sweep(self, *, unfinished: bool) -> None:
        """Destroy keys whose last day has passed, and at start those of a ceremony that a crash stopped.

        The coordinator's word ends an epoch early; without it, the quarter ends it.
        """
        for epoch_id in self._secrets.epochs():
            data = self._logbook.get(epoch_key(epoch_id))
            if data is None:
                continue
            record = EpochRecord.from_bytes(data)
            if self._is_over(record) or (unfinished and not record.is_active):
                self._secrets.destroy(epoch_id)

    def _is_over(self, record: EpochRecord) -> bool:
        """Whether an epoch's last day has passed."""
        return self._clock.now().date() > record.last_day

    def step(self, name: str, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        """Take one step.

        Args:
            name: ``start``, ``deal``, ``share``, ``confirm``, ``conclude`` or ``end`` (``agree`` is `agree`).
            parts: What the step needs, as `fedmed.protocol.node_ceremony` says.

        Raises:
            FedMedError: the ceremony is stopped and everything of it is deleted.
        """
        handlers = {
            "start": self._start,
            "deal": self._deal,
            "share": self._share,
            "confirm": self._confirm,
            "conclude": self._conclude,
            "end": self._end,
        }
        if name not in handlers:
            raise MessageMalformed(f"unknown ceremony step; use one of {', '.join(handlers)}")
        try:
            return handlers[name](parts)
        except Exception:  # also what nobody foresaw: half a ceremony must not go on
            self.stop()
            raise

    def stop(self) -> None:
        """Delete a ceremony that is under way; an epoch that was concluded stays."""
        if isinstance(self._state, Received):
            self._secrets.destroy(self._state.epoch_id)
        self._state, self._agreed, self._confirmed, self._accepted = None, False, b"", []

    def _start(self, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        """Answer a call for keys of a scheme that the policy allows; nothing is dealt for another one."""
        (request,) = _exactly(parts, 1)
        self.stop()
        self._sweep(unfinished=False)
        state, answer = steps.start(
            self._seat, request, source=self._entropy, position=self._logbook.position
        )
        check_scheme(self._policy, state.scheme)
        self._state = state
        return (answer,)

    def _deal(self, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        state = self._expect(Started)
        self._state, answer = steps.deal_shares(
            self._seat, state, parts, source=self._entropy, position=self._logbook.position
        )
        return answer

    def _share(self, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        state = self._expect(Dealt)
        self._state, answer = steps.receive_shares(self._seat, state, parts, position=self._logbook.position)
        return (answer,)

    def agree(self, parts: Sequence[bytes]) -> Terms:
        """Step 4: all signed one transcript; keep the keys and return the terms of the rehearsals."""
        try:
            state = self._expect(Received)
            if self._agreed:
                raise CeremonyStopped("the transcript was agreed before; the ceremony stops")
            steps.check_agreed(self._seat, state, parts)
            last_day = self._clock.now().date() + datetime.timedelta(days=EPOCH_DAYS)
            # The record first: keys without one could not be told from those of a finished ceremony.
            self._logbook.write(
                AuditKind.CEREMONY,
                detail="transcript agreed",
                puts={
                    epoch_key(state.epoch_id): EpochRecord(last_day=last_day, scheme=state.scheme).to_bytes()
                },
            )
            self._secrets.put(state.epoch_id, state.keys.to_bytes())
            self._agreed = True
        except Exception:
            self.stop()
            raise
        return rehearsal_terms(
            self._seat.roster,
            digests=(state.transcript, self._seat.roster_digest, state.epoch_id),
            scheme=state.scheme,
            today=self._clock.now().date(),
        )

    def note_rehearsal(self, plan_digest: bytes) -> None:
        """Remember a rehearsal's plan that was accepted here."""
        self._accepted.append(plan_digest)

    def _confirm(self, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        state = self._expect(Received)
        (request,) = _exactly(parts, 1)
        if self._confirmed:
            raise CeremonyStopped("a result was confirmed before; the ceremony stops")
        self._confirmed = steps.confirm_rehearsals(
            self._seat, state, request, accepted=self._accepted, position=self._logbook.position
        )
        return (self._confirmed,)

    def _conclude(self, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        state = self._expect(Received)
        if not self._confirmed:
            raise CeremonyStopped("the rehearsals were not confirmed here")
        steps.check_concluded(self._seat, state, parts, own=self._confirmed)
        record = replace(self.record(state.epoch_id), is_active=True)
        self._logbook.write(
            AuditKind.CEREMONY,
            detail="epoch active",
            puts={epoch_key(state.epoch_id): record.to_bytes()},
        )
        self._state, self._agreed, self._confirmed, self._accepted = None, False, b"", []
        return (b"active",)

    def _end(self, parts: Sequence[bytes]) -> tuple[bytes, ...]:
        """The ceremony failed elsewhere, or nobody will use its epoch: nothing of it may lie about here."""
        (request,) = _exactly(parts, 1)
        epoch_id = steps.read_epoch_end(self._seat, request)
        if isinstance(self._state, Dealt | Received) and self._state.epoch_id == epoch_id:
            self.stop()
        self.destroy(epoch_id)
        self._logbook.write(AuditKind.EPOCH_DESTROYED, detail="epoch ended by the coordinator")
        return (b"ended",)

    def _expect(self, kind: type[S]) -> S:
        """The state of the ceremony under way; `CeremonyStopped` when it is not at this step."""
        if not isinstance(self._state, kind):
            raise CeremonyStopped("no ceremony is at this step here; begin a new one")
        return self._state

    def record(self, epoch_id: bytes) -> EpochRecord:
        """An epoch's record; `EpochMismatch` when this custodian has none."""
        data = self._logbook.get(epoch_key(epoch_id))
        if data is None:
            raise EpochMismatch("this custodian knows no such key epoch; run a ceremony")
        return EpochRecord.from_bytes(data)

    def has_keys(self, epoch_id: bytes) -> bool:
        """Whether an epoch's keys are still here and its last day has not passed."""
        return epoch_id in self._secrets.epochs() and not self._is_over(self.record(epoch_id))

    def keys(self, epoch_id: bytes) -> EpochKeys | CkksKeys:
        """An epoch's keys; `EpochMismatch` when they were destroyed, never dealt, or are past their day."""
        if self._is_over(self.record(epoch_id)):  # destroyed with the next ceremony or start
            raise EpochMismatch("the epoch's last day has passed; run a ceremony")
        data = self._secrets.get(epoch_id)
        if data is None:
            raise EpochMismatch("the keys of this epoch were destroyed; run a ceremony")
        return CkksKeys.from_bytes(data) if is_ckks(data) else EpochKeys.from_bytes(data)

    def destroy(self, epoch_id: bytes) -> None:
        """Make an epoch's keys unreadable; what was sealed for it can never be opened again."""
        self._secrets.destroy(epoch_id)

    def end_all(self, kind: AuditKind, *, puts: Mapping[str, bytes], detail: str) -> None:
        """End every epoch, a ceremony under way included; arguments as `end_epochs`."""
        self.stop()
        epochs = self._secrets.epochs()
        end_epochs(self._logbook, self._secrets, epochs, kind=kind, detail=detail, puts=puts)


def end_epochs(
    logbook: Logbook,
    secrets: SecretStore,
    epochs: Collection[bytes],
    *,
    kind: AuditKind,
    detail: str = "",
    puts: Mapping[str, bytes] | None = None,
) -> None:
    """Write down that key epochs have ended, then destroy their keys.

    Args:
        logbook: Where it is written first: keys whose end is not on disk could serve after a crash.
        secrets: The keys.
        epochs: Ids; keys without a record (a ceremony that a crash stopped) are destroyed as well.
        kind: Why, for the audit log.
        detail: Public words for it.
        puts: Values to write in the same batch.
    """
    records = {epoch_key(epoch): logbook.get(epoch_key(epoch)) for epoch in epochs}
    ended = {
        key: replace(EpochRecord.from_bytes(data), is_active=False).to_bytes()
        for key, data in records.items()
        if data is not None
    }
    logbook.write(kind, detail=detail, puts={**(puts or {}), **ended})
    for epoch in epochs:
        secrets.destroy(epoch)


def _exactly(parts: Sequence[bytes], count: int) -> Sequence[bytes]:
    """Raise `MessageMalformed` unless there are ``count`` parts."""
    if len(parts) != count:
        raise MessageMalformed(f"expected {count} parts, got {len(parts)}")
    return parts
