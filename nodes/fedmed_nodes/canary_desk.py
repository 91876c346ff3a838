"""A node's canaries: draws their coins, seals them, lets them take part, shows the coins at the end.

Threat model: coins that anybody could know or change before the end would let a broken release pass. They are
drawn from the operating system once the study is approved here, sealed in the audit chain and in a signed
message before the first round, and leave in the answer to the coordinator's signed end of the study only.
The coordinator may end a study early to see them and go on: coins that were shown serve no round any more. A
study that had no round yet, because another province had not approved it, gets new ones.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from fedmed.errors import IntegrityError, StudyEnded
from fedmed.governance.audit_chain import AuditKind
from fedmed.plans.stage import Stage
from fedmed.privacy.canaries import BoolArray, Coins, bytes_for, coins_from, owned
from fedmed.privacy.noise import ByteSource
from fedmed.protocol import envelope
from fedmed.protocol.node_ceremony import Seat
from fedmed.protocol.schedule import Terms
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.study_keys import study_key


def check_coins_unseen(logbook: Logbook, study: bytes) -> None:
    """A study whose coins were shown after a round is over; raises `StudyEnded`."""
    if _are_shown(logbook, study) and logbook.get(study_key(study, "state")) is not None:
        raise StudyEnded("the study ended and showed the coins of its canaries; propose a changed study")


def _are_shown(logbook: Logbook, study: bytes) -> bool:
    """Whether the coins that lie here have left."""
    return logbook.get(study_key(study, _SHOWN)) is not None


_SHOWN: Final = "coins_shown"
_WORDS: Final = "coins of the canaries shown"


class CanaryDesk:
    """Keeps one node's coins for all its studies."""

    def __init__(self, seat: Seat, logbook: Logbook, entropy: ByteSource) -> None:
        self._seat = seat
        self._logbook = logbook
        self._entropy = entropy

    def seal(self, terms: Terms) -> tuple[bytes, ...]:
        """Draw and seal a study's coins, unless there are some that nobody has seen.

        Args:
            terms: An approved study.

        Returns:
            The signed seal; nothing where the study has no audit block.
        """
        count = self._count(terms)
        if count == 0:
            return ()
        coins = self._stored(terms, count)
        if coins is None or _are_shown(self._logbook, terms.study_digest):
            coins = coins_from(self._entropy(bytes_for(count)), count)
            self._logbook.write(
                AuditKind.ACCEPTED,
                study=terms.study_digest,
                detail=f"canaries sealed as {self._seal_of(coins, terms).hex()}",
                puts={self._key(terms): coins.to_bytes()},
                deletes=frozenset({study_key(terms.study_digest, _SHOWN)}),
            )
        return (self._signed(envelope.AUDIT_SEAL, self._seal_of(coins, terms), terms),)

    def present(self, terms: Terms, stage: Stage) -> tuple[BoolArray, slice] | None:
        """Who of a stage's canaries take part here.

        Returns:
            Shape (stage.canaries,), bool, false for canaries of other nodes; and this node's coordinates.
            None where the stage has no audit block.

        Raises:
            IntegrityError: the coins were never drawn: the store was changed behind the custodian's back.
        """
        if stage.canaries == 0:
            return None
        own = self._own(stage.canaries)
        coins = self._stored(terms, own.stop - own.start)
        if coins is None:
            raise IntegrityError("the coins of this study's canaries are missing; propose a new study")
        present = np.zeros(stage.canaries, dtype=np.bool_)
        present[own] = coins.present
        return present, own

    def require_unseen(self, terms: Terms) -> None:
        """No round rests on coins that were shown; raises `StudyEnded`."""
        if _are_shown(self._logbook, terms.study_digest):
            raise StudyEnded("the coins of this study's canaries were shown; it must be proposed again")

    def reveal(self, terms: Terms) -> tuple[bytes, ...]:
        """The signed coins of a study that is over; nothing where it has none.

        Guarantees:
            That they have left is on disk before they leave: no round rests on them any more.
        """
        count, digest = self._count(terms), terms.study_digest
        coins = self._stored(terms, count) if count else None
        if coins is None:
            return ()
        if not _are_shown(self._logbook, digest):
            mark = {study_key(digest, _SHOWN): b"1"}
            self._logbook.write(AuditKind.EPOCH_DESTROYED, study=digest, detail=_WORDS, puts=mark)
        return (self._signed(envelope.AUDIT_COINS, coins.to_bytes(), terms),)

    def _count(self, terms: Terms) -> int:
        """This node's canaries in a study."""
        own = self._own(terms.canaries) if terms.canaries else slice(0, 0)
        return int(own.stop - own.start)

    def _own(self, canaries: int) -> slice:
        """This node's coordinates of a block."""
        return owned(canaries, self._seat.point, nodes=len(self._seat.roster.members))

    def _stored(self, terms: Terms, count: int) -> Coins | None:
        """The coins as they were drawn; None before."""
        data = self._logbook.get(self._key(terms))
        return None if data is None else Coins.from_bytes(data, count=count)

    def _key(self, terms: Terms) -> str:
        """Where a study's coins lie."""
        return study_key(terms.study_digest, "coins")

    def _seal_of(self, coins: Coins, terms: Terms) -> bytes:
        """The seal on this node's coins."""
        return coins.seal(terms.study_digest, self._seat.identity.name)

    def _signed(self, message_type: str, content: bytes, terms: Terms) -> bytes:
        """One message about coins, to the coordinator."""
        return envelope.sign_message(
            self._seat.identity,
            message_type,
            content,
            context=terms.study_digest,
            receiver=self._seat.coordinator,
            position=self._logbook.position,
        )
