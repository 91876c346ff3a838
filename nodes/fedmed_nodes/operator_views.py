"""Budget and audit log as the operator reads them, on a terminal and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fedmed.crypto.identity import PublicIdentity
from fedmed.governance.audit_chain import AuditEntry, ChainHead, verify_chain
from fedmed.socket_messages import Budget
from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.home import Home
from fedmed_nodes.registration import Reading

Log = tuple[tuple[AuditEntry, ...], ChainHead | None]
"""Entries, and where the chain was found to stand if it was verified."""


def asked_log(custodian: SocketCustodian, *, last: int | None, verify: bool) -> Log:
    """The log of a running custodian.

    Args:
        custodian: Asked for its entries and, to verify, for its public keys: whoever doubts the custodian
            itself compares its head with one that another province kept.
        last: Entries; None for all, as verifying needs.
        verify: Whether to check the chain.

    Raises:
        IntegrityError: names the first entry that does not hold.
        CustodianUnreachable: no custodian answers.
    """
    entries = tuple(AuditEntry.from_bytes(data) for data in custodian.audit(last))
    if not verify:
        return entries, None
    card = custodian.catalogue()
    public = PublicIdentity(name=card.node, signing_key=card.signing_key, sealing_key=card.sealing_key)
    return entries, verify_chain(entries, public)


def stored_log(home: Path, *, last: int | None, verify: bool) -> Log:
    """The log in a home's store, for a custodian that does not run; arguments and errors as `asked_log`."""
    store = Home(home).store()
    try:
        entries = store.audit(last)
    finally:
        store.close()
    return entries, verify_chain(entries, Home(home).identity().public) if verify else None


def registration_document(name: str, found: Reading, *, study: str | None) -> dict[str, Any]:
    """What `fedmed_nodes.register_desk.register_dataset` found as JSON; `Any`: JSON values."""
    document: dict[str, Any] = {
        "dataset": name,
        "rows": found.rows,
        "columns": list(found.entry.columns),
        "fingerprint": found.entry.fingerprint.hex(),
    }
    return document if study is None else document | {"study": study, "persons": found.persons}


def registration_lines(document: dict[str, Any]) -> str:
    """`registration_document` for people."""
    lines = [
        f"registered {document['dataset']}: {document['rows']} rows, {len(document['columns'])} columns",
        f"columns: {', '.join(document['columns'])}",
        f"fingerprint: {document['fingerprint']}",
    ]
    if "study" in document:
        lines.append(f"its rows can serve study {document['study']}: {document['persons']} persons")
    return "\n".join(lines)


def log_document(entries: Sequence[AuditEntry], head: ChainHead | None) -> dict[str, Any]:
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
        for entry in entries
    ]
    verified = None if head is None else {"counter": head.counter, "head": head.head.hex()}
    return {"entries": lines, "verified": verified}


def log_lines(entries: Sequence[AuditEntry], head: ChainHead | None) -> str:
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
                entry.event.detail,
            )
            if word
        )
        for entry in entries
    ]
    if head is not None:
        lines.append(f"the chain holds: {head.counter} entries, head {head.head.hex()}")
    return "\n".join(lines) if lines else "the log is empty"


def budget_document(view: Budget) -> dict[str, Any]:
    """The budget as JSON; `Any`: JSON values."""
    studies = [
        {
            "study": s.study_digest.hex(),
            "id": s.id,
            "title": s.title,
            "standing": s.standing.value,
            "spent_epsilon": s.spent_epsilon,
            "reserved_epsilon": s.reserved_epsilon,
            "delta": s.delta,
        }
        for s in view.studies
    ]
    datasets = [
        {
            "dataset": d.name,
            "data_year": d.data_year,
            "cap_epsilon": d.cap_epsilon,
            "committed_epsilon": d.committed_epsilon,
            "left_epsilon": d.left_epsilon,
        }
        for d in view.datasets
    ]
    return {"datasets": datasets, "studies": studies}


def budget_lines(view: Budget) -> str:
    """The budget for a terminal."""
    lines = ["epsilon a person, by dataset and year"]
    lines += [
        f"  {d.name} {d.data_year}: {d.committed_epsilon:.3f} of {d.cap_epsilon:g} spent or reserved, "
        f"{d.left_epsilon:.3f} left"
        for d in view.datasets
    ] or ["  no dataset is registered"]
    lines.append("by study")
    for s in view.studies:
        lines.append(f"  {s.study_digest.hex()}")
        lines.append(f"    {s.id}: {s.title} ({s.standing.value})")
        lines.append(
            f"    spent {s.spent_epsilon:.3f} of {s.reserved_epsilon:.3f} reserved, delta {s.delta:.2g}"
        )
    if not view.studies:
        lines.append("  none was proposed")
    return "\n".join(lines)
