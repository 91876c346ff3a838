"""Tables on a terminal, where a Chinese character is as wide as two letters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence


def width_of(text: str) -> int:
    """Places that a text takes on a terminal."""
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def aligned(rows: Sequence[Sequence[str]], *, numbers: Iterable[int] = ()) -> list[str]:
    """Rows as lines whose columns stand below each other, two blanks apart.

    Args:
        rows: Texts, as many in each row; the first row may be the heads.
        numbers: Columns that are set to the right, from 0.

    Guarantees:
        Every column begins (or ends, if it is set to the right) at the same place in all lines.
    """
    right = frozenset(numbers)
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [
            " " * (width - width_of(text)) + text if at in right else text + " " * (width - width_of(text))
            for at, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    return lines
