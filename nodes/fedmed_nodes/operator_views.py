"""Budget and audit log as the operator reads them, on a terminal and as JSON."""

from __future__ import annotations

from typing import Any

from fedmed.socket_messages import Budget
from fedmed_nodes.registration import Reading


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
