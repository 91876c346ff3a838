"""A custodian with its operator's desk: what the socket offers, behind one turnstile."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

from fedmed import wire
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed.socket_messages import ActOutcome, Budget, Catalogue, DatasetCard, StudyReview
from fedmed_nodes.custodian import Custodian, Settings
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.operator_desk import OperatorDesk
from fedmed_nodes.stores import CustodianStore


class Office:
    """Lets messages and the operator's acts to the custodian one at a time.

    The custodian excludes its messages from each other; an operator's act in the middle of one would put
    two entries on one place of the audit chain. So everything that writes goes through one lock here. What
    only reads does not wait for it: a contribution may take minutes.
    """

    def __init__(self, custodian: Custodian, settings: Settings, store: CustodianStore) -> None:
        self._custodian = custodian
        self._settings = settings
        self._store = store
        self._operators = OperatorDesk(settings, custodian.studies, store)
        self._turn = threading.Lock()

    def answer(self, kind: PhaseKind, parts: Sequence[bytes]) -> Reply:
        """See `Custodian.answer`; the wait for the response tick counts to the turn."""
        with self._turn:
            return self._custodian.answer(kind, parts)

    def review(self, study_digest: bytes) -> StudyReview:
        """See `OperatorDesk.review`."""
        return self._operators.review(study_digest)

    def approve(self, study_digest: bytes) -> None:
        """The operator's unsigned yes to a study that waits; errors as `StudyDesk.approve`."""
        with self._turn:
            self._custodian.studies.approve(study_digest)

    def revoke(self, study_digest: bytes) -> None:
        """The operator's unsigned end of a study; errors as `StudyDesk.revoke`."""
        with self._turn:
            self._custodian.studies.revoke(study_digest)

    def act(self, body: bytes, signature: bytes) -> ActOutcome:
        """See `OperatorDesk.act`."""
        with self._turn:
            return self._operators.act(body, signature)

    def write(self, act: Callable[[Logbook], object], *, patience_s: float = -1.0) -> bool:
        """Let the daemon write between messages.

        Args:
            act: Gets the logbook; what it raises is raised.
            patience_s: Seconds to wait for the turn; -1 waits as long as it takes.

        Returns:
            Whether it got its turn.
        """
        if not self._turn.acquire(timeout=patience_s):
            return False
        try:
            act(self._custodian.logbook)
        finally:
            self._turn.release()
        return True

    def catalogue(self) -> Catalogue:
        """Registered datasets by their public facts."""
        settings = self._settings
        cards = [
            DatasetCard(
                name=name,
                declared_persons=s.declared_persons,
                data_year=s.data_year,
                withheld=s.withheld,
            )
            for name, s in sorted(settings.datasets.items())
        ]
        return Catalogue(
            node=settings.identity.name,
            signing_key=settings.identity.public.signing_key,
            sealing_key=settings.identity.public.sealing_key,
            roster_digest=wire.roster_digest(settings.roster),
            datasets=tuple(cards),
        )

    def audit(self, last: int | None = None) -> tuple[bytes, ...]:
        """The audit chain, or its ``last`` entries, in the bytes that are signed."""
        return tuple(entry.to_bytes() for entry in self._store.audit(last))

    def budget(self) -> Budget:
        """See `OperatorDesk.budget`."""
        return self._operators.budget()
