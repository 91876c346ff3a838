"""Key epochs as the operator sees and ends them."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fedmed.errors import ConfigError
from fedmed.governance.audit_chain import AuditKind
from fedmed.types import Scheme
from fedmed_nodes.books import Books
from fedmed_nodes.ceremony_desk import EpochRecord, end_epochs, epoch_key
from fedmed_nodes.home import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldEpoch:
    """An epoch whose key shares lie here.

    Attributes:
        id: In hexadecimal.
        is_active: Its ceremony was concluded; the shares of another one serve nothing.
        polynomials_opened: Of at most 4,096.
        last_day: Day after which the shares are destroyed; None for a ceremony that a crash stopped.
        scheme: Whose keys they are; of ``ckks`` the whole key lies here.
    """

    id: str
    is_active: bool
    polynomials_opened: int
    last_day: datetime.date | None
    scheme: Scheme = Scheme.THRESHOLD


def held_epochs(home: Home) -> tuple[HeldEpoch, ...]:
    """The epochs whose shares lie in a home, the one that ends first first; a custodian may run."""
    with contextlib.closing(home.store()) as store:
        found = []
        for epoch_id in home.secrets().epochs():
            data = store.get(epoch_key(epoch_id))
            record = None if data is None else EpochRecord.from_bytes(data)
            found.append(
                HeldEpoch(
                    id=epoch_id.hex(),
                    is_active=record is not None and record.is_active,
                    polynomials_opened=0 if record is None else record.polynomials_opened,
                    last_day=None if record is None else record.last_day,
                    scheme=Scheme.THRESHOLD if record is None else record.scheme,
                )
            )
    return tuple(sorted(found, key=lambda epoch: (epoch.last_day or datetime.date.min, epoch.id)))


def end_chosen(books: Books, ids: Sequence[str], *, everything: bool) -> tuple[str, ...]:
    """Destroy the shares of epochs for good.

    Args:
        books: The home's.
        ids: Epochs in hexadecimal, in full.
        everything: End all that are here; then ``ids`` must be empty.

    Returns:
        The ids of those that were ended.

    Raises:
        ConfigError: none is named, or one that is not here; nothing was changed.
    """
    held = {epoch.hex(): epoch for epoch in books.secrets.epochs()}
    if everything == bool(ids):
        raise ConfigError("name epochs as fedmed node epochs list shows them, or give --all")
    missing = [epoch for epoch in ids if epoch not in held]
    if missing:
        raise ConfigError(f"no shares of epoch {missing[0]} lie here; see fedmed node epochs list")
    chosen = sorted(held if everything else set(ids))
    if not chosen:
        return ()
    detail = "ended by the operator: " + ("all" if everything else " ".join(e[:16] for e in chosen[:50]))
    end_epochs(
        books.logbook,
        books.secrets,
        [held[epoch] for epoch in chosen],
        kind=AuditKind.EPOCH_DESTROYED,
        detail=detail,
    )
    return tuple(chosen)


def epoch_document(found: Sequence[HeldEpoch]) -> dict[str, Any]:
    """The epochs as JSON; `Any`: JSON values."""
    return {
        "epochs": [
            {
                "id": epoch.id,
                "active": epoch.is_active,
                "polynomials_opened": epoch.polynomials_opened,
                "last_day": None if epoch.last_day is None else epoch.last_day.isoformat(),
                "scheme": epoch.scheme.value,
            }
            for epoch in found
        ]
    }


def epoch_lines(found: Sequence[HeldEpoch]) -> str:
    """The epochs for a terminal."""
    lines = [
        f"{epoch.id}\n  {'active' if epoch.is_active else 'not active'}, "
        f"{'the key that every province holds, ' if epoch.scheme is Scheme.CKKS else ''}"
        f"{epoch.polynomials_opened} polynomials opened, "
        f"{'last day ' + epoch.last_day.isoformat() if epoch.last_day else 'of a ceremony that was stopped'}"
        for epoch in found
    ]
    return "\n".join(lines) or "no key shares lie here"
