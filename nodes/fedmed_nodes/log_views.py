"""The audit log as the operator reads and checks it: through the custodian, or from files alone.

What a check proves. With the present card every entry from the first on is the province's, whole and in
order, over sealed files and store. That nothing was cut at the end is known as far as somebody kept a later
head: the home's own mark of its newest entry (`fedmed_nodes.high_water`), and any head that another province
or the coordinator holds from this node's messages, given as ``--expect``. A province that rewrites its whole
log with its own key, and that nobody holds a message of, cannot be caught.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from fedmed.crypto.identity import PublicIdentity
from fedmed.errors import ConfigError
from fedmed.governance.audit_chain import AuditEntry, ChainHead, verify_chain
from fedmed.governance.ledger_head import check_ledger, stated_head
from fedmed_nodes.audit_archive import AuditArchive
from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.high_water import require_not_set_back
from fedmed_nodes.home import ARCHIVE, STORE, Home

_LONG_NUMBER: Final = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")
"""Keys and digests, which a terminal shows by their beginning; ``--json`` has them in full."""
_EXPECTED: Final = re.compile(r"([1-9][0-9]{0,17}):([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Log:
    """What was read.

    Attributes:
        entries: In order.
        head: Where the chain was found to stand; None if it was not checked.
        sealed: How many of the entries lie in sealed files; None where only the custodian knows.
        is_end_known: Whether a later head, kept by the custodian or by somebody else, was compared.
    """

    entries: tuple[AuditEntry, ...]
    head: ChainHead | None = None
    sealed: int | None = None
    is_end_known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What a log is checked against.

    Attributes:
        card: Card of the node; None = the one that the custodian or the home has.
        expected: A head that somebody else kept; None for none.
    """

    card: PublicIdentity | None = None
    expected: ChainHead | None = None


def read_expected(text: str) -> ChainHead:
    """Read ``COUNTER:HEAD``; raises `ConfigError`."""
    found = _EXPECTED.fullmatch(text)
    if found is None:
        raise ConfigError("--expect must be COUNTER:HEAD, as another province kept it: 57:4c9c...b4")
    return ChainHead(counter=int(found[1]), head=bytes.fromhex(found[2]))


def asked_log(custodian: SocketCustodian, *, last: int | None, check: Check | None = None) -> Log:
    """The log of a running custodian.

    Args:
        custodian: Asked for its entries and, where ``check`` has no card, for its public keys.
        last: Entries; None for all, as checking needs.
        check: What to check against; None to read only.

    Raises:
        IntegrityError: names the first entry that does not hold.
        CustodianUnreachable: no custodian answers.
    """
    entries = tuple(AuditEntry.from_bytes(data) for data in custodian.audit(last))
    if check is None:
        return Log(entries=entries)
    told = custodian.catalogue()
    card = check.card or PublicIdentity(
        name=told.node, signing_key=told.signing_key, sealing_key=told.sealing_key
    )
    head = verify_chain(entries, card, expected_head=check.expected)
    return Log(entries=entries, head=head, is_end_known=True)


def stored_log(home: Home, *, last: int | None, check: Check | None = None) -> Log:
    """The log in a home's files, or in a copy of its folders ``store`` and ``audit``.

    Args:
        home: The folder. With sealed files only, those are read.
        last: As for `asked_log`.
        check: As for `asked_log`; a card is needed where the folder has none.

    Raises:
        IntegrityError: names the first entry that does not hold, or says that the ledger lacks charges that
            the log tells of; `StoreSetBack` if the store lacks the newest
            entry that this node is known to have written.
    """
    if not (home.path / STORE).exists():
        return _sealed_log(home, last=last, check=check)
    with contextlib.closing(home.store()) as store:
        entries = store.audit(last)
        sealed = sum(file.last - file.first + 1 for file in store.archive.files())
        if check is None:
            return Log(entries=entries)
        head = verify_chain(entries, check.card or home.card(), expected_head=check.expected)
        check_ledger(store.ledger(), stated_head(entries))
        is_marked = store.mark.path.exists()  # a copy for an auditor has none
        if is_marked:
            require_not_set_back(store, store.mark)
    return Log(
        entries=entries, head=head, sealed=sealed, is_end_known=is_marked or check.expected is not None
    )


def _sealed_log(home: Home, *, last: int | None, check: Check | None) -> Log:
    """The sealed files alone."""
    archive = AuditArchive(home.path / ARCHIVE)
    files = archive.files()
    if not files:
        raise ConfigError(f"{home.path} has neither {STORE} nor sealed files in {ARCHIVE}; name a home")
    entries = archive.entries(1, files[-1].last)
    if last is not None:
        entries = entries[max(0, len(entries) - last) :]
    if check is None:
        return Log(entries=entries)
    if check.card is None:
        raise ConfigError("give the node's card with --card: the sealed files alone do not name it")
    head = verify_chain(entries, check.card, expected_head=check.expected)
    return Log(entries=entries, head=head, sealed=len(entries), is_end_known=check.expected is not None)


def log_document(log: Log, shown: Sequence[AuditEntry]) -> dict[str, Any]:
    """The log as JSON; `Any`: JSON values."""
    lines = [
        {
            "counter": entry.counter,
            "at": entry.event.at,
            "kind": entry.event.kind.value,
            "study": entry.event.study,
            "code": entry.event.code,
            "detail": entry.event.detail,
            "head": entry.head.hex(),
        }
        for entry in shown
    ]
    head = log.head
    verified = None if head is None else {"counter": head.counter, "head": head.head.hex()}
    return {"entries": lines, "verified": verified}


def log_lines(log: Log, shown: Sequence[AuditEntry]) -> str:
    """The log for a terminal: counter, time, what happened, study, code, words."""
    lines = [
        " ".join(
            word
            for word in (
                f"{entry.counter:>6}",
                entry.event.at,
                f"{entry.event.kind.value:<15}",
                entry.event.study[:12],
                entry.event.code,
                _LONG_NUMBER.sub(r"\1...", entry.event.detail),
            )
            if word
        ).rstrip()
        for entry in shown
    ]
    if log.head is not None:
        sealed = f", {log.sealed} of them in sealed files" if log.sealed else ""
        lines.append(f"the chain holds: {log.head.counter} entries{sealed}")
        if not log.is_end_known:
            lines.append("later entries may have been cut off: these files alone do not tell; give --expect")
        lines.append(f"keep this where this node cannot change it: {log.head.counter}:{log.head.head.hex()}")
    return "\n".join(lines) if lines else "the log is empty"
