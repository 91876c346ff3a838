"""Where a node's privacy ledger stands, as its signed audit log says it.

Threat model: somebody cuts the ledger's last rows, in the store or in a copy of it, so that spent budget
looks free. The rows' own links show edits and gaps, never a missing end. So the audit entry that tells of a
charge states how many charges there are by now and the digest that links them; the entry is signed and in
the chain, and the chain's head is in every later message of the node, also in those that a release holds.
Whoever cuts ledger and log together, and the mark of the newest entry beside them, meets the heads that
others kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from fedmed.errors import IntegrityError
from fedmed.governance.audit_chain import AuditEntry, AuditKind
from fedmed.privacy.ledger_record import LedgerRecord
from fedmed.types import DIGEST_BYTES, digest, require

_STATED: Final = re.compile(r".*; ledger ([1-9][0-9]{0,17}) ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerHead:
    """How many charges a ledger holds, and the digest of all of them in order.

    Attributes:
        count: Number of charges, >= 0.
        link: 32 bytes; zeros for none.
    """

    count: int = 0
    link: bytes = bytes(DIGEST_BYTES)

    def __post_init__(self) -> None:
        require(self.count >= 0, f"count must be >= 0, got {self.count}")
        require(len(self.link) == DIGEST_BYTES, f"link must be {DIGEST_BYTES} bytes, got {len(self.link)}")

    def after(self, records: Iterable[LedgerRecord]) -> LedgerHead:
        """Where the ledger stands once these charges follow."""
        count, link = self.count, self.link
        for record in records:
            count, link = count + 1, ledger_link(link, record.to_bytes())
        return LedgerHead(count=count, link=link)

    def stated(self, detail: str) -> str:
        """An audit entry's words with this head behind them."""
        return f"{detail}; ledger {self.count} {self.link.hex()}"


def ledger_link(previous: bytes, record: bytes) -> bytes:
    """Digest of a charge's bytes and of all charges before it, 32 bytes."""
    return digest("fedmed/ledger-link", previous, record)


def stated_head(entries: Sequence[AuditEntry]) -> LedgerHead | None:
    """The last head that an audit log states; None for logs of before heads were stated, or no charge."""
    for entry in reversed(entries):
        found = _STATED.fullmatch(entry.event.detail) if entry.event.kind is AuditKind.ACCEPTED else None
        if found is not None:
            return LedgerHead(count=int(found[1]), link=bytes.fromhex(found[2]))
    return None


def check_ledger(records: Sequence[LedgerRecord], stated: LedgerHead | None) -> None:
    """Refuse a ledger that lacks charges of which the audit log tells.

    Args:
        records: All charges; read after the log, so that a charge in between is no fault.
        stated: See `stated_head`.

    Guarantees:
        A ledger that was cut, or cut and continued with other charges, is refused, also where its rows'
        links were made anew.

    Raises:
        IntegrityError: says how many charges there are and must be.
    """
    if stated is None:
        return
    if LedgerHead().after(records[: stated.count]) != stated:
        raise IntegrityError(
            f"the audit log tells of {stated.count} charges, the ledger holds {len(records)} or other ones: "
            "it was cut or altered, and budget that is spent would look free. Put the newest store back, or "
            "restore a backup: fedmed node restore --help"
        )
