"""Budget and registration as the operator reads them, on a terminal and as JSON."""

from __future__ import annotations

from typing import Any

from fedmed.socket_messages import Budget
from fedmed_nodes.aligned import aligned
from fedmed_nodes.registration import Reading


def registration_document(name: str, found: Reading, *, study: str | None) -> dict[str, Any]:
    """What `fedmed_nodes.register_desk.register_dataset` found as JSON; `Any`: JSON values."""
    document: dict[str, Any] = {
        "dataset": name,
        "rows": found.rows,
        "columns": list(found.entry.columns),
        "fingerprint": found.entry.fingerprint.hex(),
        "quality": dict(found.quality),
        "withheld": found.withheld,
    }
    return document if study is None else document | {"study": study, "persons": found.persons}


def registration_lines(document: dict[str, Any]) -> str:
    """`registration_document` for people."""
    lines = [
        f"registered {document['dataset']}: {document['rows']} rows, {len(document['columns'])} columns",
        f"columns: {', '.join(document['columns'])}",
        f"fingerprint: {document['fingerprint']}",
    ]
    if document["quality"]:
        scores = ", ".join(f"{name} {score:.3f}" for name, score in document["quality"].items())
        lines.append(f"quality: {scores}")
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
            "dataset": s.dataset,
            "data_year": s.data_year,
            "standing": s.standing.value,
            "spent_epsilon": s.spent_epsilon,
            "reserved_epsilon": s.reserved_epsilon,
            "left_epsilon": s.left_epsilon,
            "delta": s.delta,
        }
        for s in view.studies
    ]
    datasets = [
        {
            "dataset": d.name,
            "data_year": d.data_year,
            "fingerprint": d.fingerprint.hex(),
            "cap_epsilon": d.cap_epsilon,
            "spent_epsilon": d.spent_epsilon,
            "committed_epsilon": d.committed_epsilon,
            "left_epsilon": d.left_epsilon,
        }
        for d in view.datasets
    ]
    raises = [
        {
            "fingerprint": r.fingerprint.hex(),
            "data_year": r.data_year,
            "cap_epsilon": r.cap_epsilon,
            "signed_by": list(r.signed_by),
            "needed": r.needed,
            "holds": r.is_agreed,
            "reason": r.reason,
            "signed_at": r.signed_at,
        }
        for r in view.raises
    ]
    document = {"datasets": datasets, "studies": studies, "raises": raises}
    return document | ({"restored": view.restored} if view.restored else {})


def budget_lines(view: Budget) -> str:
    """The budget for a terminal: a table by year, one by study, and every raise."""
    lines = ["epsilon a person, by dataset and year", *_years(view)]
    lines += ["", "by study", *_studies(view)]
    if view.raises:
        lines += ["", "raises", *_raises(view)]
    if view.restored:
        lines += [
            "",
            f"RESTORED: {view.restored}.",
            "What was charged and is lost is not counted above. Every study waits for your approval.",
        ]
    return "\n".join(lines)


def _years(view: Budget) -> list[str]:
    """What a year may spend; reserved and spent compose, so they do not add up."""
    if not view.datasets:
        return ["  no dataset is registered"]
    rows = [("dataset", "year", "spent", "spent or reserved", "cap", "left")]
    rows += [
        (
            d.name,
            str(d.data_year),
            f"{d.spent_epsilon:.3f}",
            f"{d.committed_epsilon:.3f}",
            f"{d.cap_epsilon:.3f}",
            f"{d.left_epsilon:.3f}",
        )
        for d in view.datasets
    ]
    return [f"  {line}" for line in aligned(rows, numbers=range(1, 6))]


def _studies(view: Budget) -> list[str]:
    """What each study may spend and has spent, and under it the digest to approve it by."""
    if not view.studies:
        return ["  none was proposed"]
    rows = [("study", "dataset", "year", "spent", "reserved", "left", "delta", "standing")]
    rows += [
        (
            s.id,
            s.dataset,
            str(s.data_year or "?"),
            f"{s.spent_epsilon:.3f}",
            f"{s.reserved_epsilon:.3f}",
            f"{s.left_epsilon:.3f}",
            f"{s.delta:.2g}",
            s.standing.value,
        )
        for s in view.studies
    ]
    head, *lines = aligned(rows, numbers=range(2, 7))
    shown = [f"  {head}"]
    for line, study in zip(lines, view.studies, strict=True):
        shown += [f"  {line}", f"    {study.study_digest.hex()}  {study.title}"]
    return shown


def _raises(view: Budget) -> list[str]:
    """Every raise, those that still lack signatures among them."""
    names = {(d.fingerprint, d.data_year): d.name for d in view.datasets}
    rows = [("dataset", "year", "cap", "signed by", "", "reason")]
    rows += [
        (
            names.get((r.fingerprint, r.data_year), r.fingerprint.hex()[:12]),
            str(r.data_year),
            f"{r.cap_epsilon:.3f}",
            f"{', '.join(r.signed_by)} ({len(r.signed_by)}/{r.needed})",
            "holds" if r.is_agreed else "waits",
            r.reason,
        )
        for r in view.raises
    ]
    return [f"  {line}" for line in aligned(rows, numbers=(1, 2))]
