"""What ``fedmed study run`` prints of a study that is no training: the tables that its program made."""

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
        The first `SHOWN_CELLS` rows of each statistic, then what protects them.
    """
    lines: list[RenderableType] = [Text(str(document["study"]["title"]), style="bold")]
    for statistic in document["result"].get("statistics", ()):
        lines.append(_rows(statistic))
        left = len(statistic["columns"]["estimate"]) - SHOWN_CELLS
        if left > 0:
            lines.append(Text(f"... and {left:,} rows more"))
    return [*lines, Text(_protection(document["privacy"])), Text(f"All of it: {folder}/result.json")]


def _rows(statistic: Mapping[str, Any]) -> Table:
    """One line a row: levels, the estimate in its unit, and the interval where there is one."""
    heading = f"{statistic['name']} ({statistic['kind'].replace('_', ' ')})"
    table = Table(title=heading, title_justify="left", box=box.SIMPLE, header_style="bold")
    by, columns, decimals = statistic["by"], statistic["columns"], statistic["decimals"]
    for axis in by:
        table.add_column(axis)
    if "probability" in columns:
        table.add_column("probability", justify="right")
    table.add_column(statistic["unit"], justify="right")
    if "conf_low" in columns:
        table.add_column(f"95 % interval\n({statistic['interval']})", justify="right")
    for row in range(min(SHOWN_CELLS, len(columns["estimate"]))):
        cells = [levels[row] for levels in by.values()]
        if "probability" in columns:
            cells.append(f"{columns['probability'][row]:g}")
        cells.append(_shown(columns["estimate"][row], decimals))
        if "conf_low" in columns:
            ends = (_shown(columns[end][row], decimals) for end in ("conf_low", "conf_high"))
            cells.append(" to ".join(ends))
        table.add_row(*cells)
    return table


def _shown(value: float | None, decimals: int) -> str:
    """A number as people read it; a dash where there is none."""
    if value is None:
        return "-"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.{decimals}f}" if decimals else f"{value:,.4g}"


def _protection(privacy: Mapping[str, Any]) -> str:
    """One line about what protects a person."""
    if privacy["exact"]:
        return "Exact sums: no noise, no epsilon; small cells are not suppressed in this table."
    return (
        f"epsilon {privacy['epsilon_spent']:.3f} of {privacy['epsilon']:g} a person spent, delta "
        f"{privacy['delta']:.1e}; {privacy['fallback_epsilon']:.2f} if all other nodes collude."
    )
