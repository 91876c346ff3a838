"""What ``fedmed server status`` shows: processes, nodes and studies, as a document and as aligned lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fedmed_server import control
from fedmed_server.coordinator import running_processes
from fedmed_server.home import Home
from fedmed_server.study_status import studies

NOT_REGISTERED = "not registered"
_GAP = "  "


def status_document(home: Home) -> dict[str, Any]:  # Any: what JSON can say
    """Processes by name, nodes by name and all studies, the latest first.

    Raises:
        ProcessFailed: the coordinator runs and its SuperLink does not answer.
    """
    processes = running_processes(home)
    known = control.node_statuses(home) if processes else {}
    return {
        "processes": processes,
        "nodes": {m.name: known.get(m.name, NOT_REGISTERED) for m in home.roster().members},
        "studies": [status.document() for status in studies(home)],
    }


def status_lines(document: dict[str, Any], *, home: Path) -> Iterator[str]:  # Any: as above
    """The document for people; columns line up."""
    processes = document["processes"]
    if not processes:
        yield f"no coordinator runs on {home}; start it with fedmed server up {home}"
    else:
        yield from _table(("PROCESS", "PID"), [(name, str(pid)) for name, pid in processes.items()])
        yield ""
        yield from _table(("NODE", "STATE"), list(document["nodes"].items()))
    if document["studies"]:
        yield ""
        head = ("STUDY", "STATE", "PHASE", "ROUND", "EPSILON SPENT", "LEFT", "LOST NODES")
        yield from _table(head, [_study_cells(told) for told in document["studies"]])


def _study_cells(told: dict[str, Any]) -> tuple[str, ...]:  # Any: as above
    """One study's row; a dash where nothing is known."""
    state = f"{told['state']} ({told['code']})" if "code" in told else told["state"]
    if "phase" not in told:
        return (told["study"], state, "-", "-", "-", "-", "-")
    spent, planned = told.get("epsilon_spent"), told.get("epsilon_planned")
    lost = [f"{node} {word}" for node, word in told["nodes"].items() if word != "done"]
    return (
        told["study"],
        state,
        told["phase"],
        f"{told['round']}/{told['rounds']}" if told["round"] else "-",
        "-" if spent is None else f"{spent:.3f}",
        "-" if spent is None else f"{max(0.0, planned - spent):.3f}",
        ", ".join(lost) or "-",
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Columns as wide as their widest cell."""
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    for row in (head, *rows):
        yield _GAP.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
