"""What ``fedmed study run`` prints of a study that is no training: the table that its program made."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

SHOWN_CELLS = 40


def question_lines(document: Mapping[str, Any], folder: str) -> list[RenderableType]:
    """The document of `fedmed.question` as lines for a terminal.

    Args:
        document: The result document (Any: it is JSON).
        folder: Where all of it lies.

    Returns:
        A table of the first `SHOWN_CELLS` cells where the result has cells, then what protects it.
    """
    result = document["result"]
    lines: list[RenderableType] = [Text(str(document["study"]["title"]), style="bold")]
    if "cells" in result:
        lines.append(_cells(result))
        left = len(result["cells"]) - SHOWN_CELLS
        if left > 0:
            lines.append(Text(f"... and {left:,} cells more"))
    return [*lines, Text(_protection(document["privacy"])), Text(f"All of it: {folder}/result.json")]


def _cells(result: Mapping[str, Any]) -> Table:
    """One line a cell; exact sums are shown in the column's unit, to the last decimal."""
    table = Table(box=box.SIMPLE, header_style="bold")
    cells, measures = result["cells"][:SHOWN_CELLS], result["measures"]
    for name in cells[0]["by"]:
        table.add_column(name)
    for measure in measures:
        noise = measure["noise_std"]
        note = "" if noise is None else f"\n(noise {noise:,.1f})"
        table.add_column(f"{measure['name']}{note}", justify="right")
    for cell in cells:
        values = [_shown(cell[m["name"]], m["decimals"], is_exact=result["exact"]) for m in measures]
        table.add_row(*cell["by"].values(), *values)
    return table


def _shown(value: float, decimals: int, *, is_exact: bool) -> str:
    """A total in the column's unit."""
    if is_exact and isinstance(value, int):
        whole, rest = divmod(abs(value), 10**decimals)
        sign = "-" if value < 0 else ""
        return f"{sign}{whole:,}" + (f".{rest:0{decimals}d}" if decimals else "")
    return f"{value:,.{max(decimals, 1)}f}"


def _protection(privacy: Mapping[str, Any]) -> str:
    """One line about what protects a person."""
    if privacy["exact"]:
        return "Exact sums: no noise, no epsilon; small cells are not suppressed in this table."
    return (
        f"epsilon {privacy['epsilon_spent']:.3f} of {privacy['epsilon']:g} a person spent, delta "
        f"{privacy['delta']:.1e}; {privacy['fallback_epsilon']:.2f} if all other nodes collude."
    )
