"""The flow matrix: from where to where, shaded by size, with the figure in every cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fedmed.report.svg import INK, MUTED, RULE, WIDE, Plot, draw_twice, mark, place, plot_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Shade = tuple[float, float, float]
"""Red, green, blue, 0 to 1."""

# Light enough at both ends that dark figures can be read on every shade.
_LIGHT, _DARK = (0.925, 0.953, 0.976), (0.416, 0.667, 0.851)
_HOME = (0.91, 0.92, 0.93)
MOST_FIGURES = 14
"""Above so many columns the figures do not fit; the shades stay, and the table has the numbers."""


def flow_plot(
    cells: tuple[tuple[float | None, ...], ...],
    *,
    names: tuple[tuple[str, ...], tuple[str, ...]],
    name: str,
    axes_names: tuple[str, str],
    description: str,
) -> Plot:
    """Draw a matrix.

    Args:
        cells: From (row) to (column); None is a blank, which is drawn hatched.
        names: Of the rows, of the columns.
        name: Prefix of the ids inside.
        axes_names: What rows are, what columns are.
        description: What the picture shows, for those who do not see it.

    Guarantees:
        Shades follow the root of the value over cells off the diagonal, so that those who stay at home do
        not drown those who travel; between the same places the diagonal has a grey of its own.
    """
    labels = tuple(plot_label(text) for text in (*names[0], *names[1], *axes_names))

    def draw(figure: Figure, width: float) -> float:
        return _draw(figure, width, cells=cells, is_square=names[0] == names[1])

    return draw_twice(name, description, draw=draw, labels=labels)


def _draw(
    figure: Figure, width: float, *, cells: tuple[tuple[float | None, ...], ...], is_square: bool
) -> float:
    """One square a cell; names to the left and above."""
    rows, columns = len(cells), len(cells[0])
    is_wide = width >= WIDE
    left, top = (128.0, 44.0) if is_wide else (84.0, 44.0)
    side = (width - left - 8) / columns
    step = min(max(side * 0.62, 24.0), 46.0)
    height = top + step * rows + 10
    axes = place(figure, (left, top, 8, 10), width=width, height=height)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
    off = [v for r, row in enumerate(cells) for c, v in enumerate(row) if v and not (is_square and r == c)]
    largest = max(off, default=max((v for row in cells for v in row if v), default=1.0))
    for r, row in enumerate(cells):
        for c, value in enumerate(row):
            is_home = is_square and r == c
            shade = _HOME if is_home else _shade(value or 0.0, largest)
            _draw_cell(axes, (c, r), value=value, shade=shade, size=_size(is_wide, columns))
    _names(axes, rows, columns, size=11.5 if is_wide else 10)
    axes.text(
        0, -32 / step, f"{mark(rows + columns + 1)} →", ha="left", va="center", fontsize=11, color=MUTED
    )
    axes.text(
        -6 / side, -32 / step, f"{mark(rows + columns)} ↓", ha="right", va="center", fontsize=11, color=MUTED
    )
    return height


def _size(is_wide: bool, columns: int) -> float | None:
    """Size of the figures; None where there is no room for any."""
    if columns > MOST_FIGURES or (not is_wide and columns > 6):
        return None
    return 11.5 if columns <= 6 and is_wide else 10.0


def _shade(value: float, largest: float) -> Shade:
    """The darker, the more; nobody is white."""
    if not value:
        return (1.0, 1.0, 1.0)
    share = min(1.0, max(0.0, value / largest)) ** 0.5
    red, green, blue = (a + (b - a) * share for a, b in zip(_LIGHT, _DARK, strict=True))
    return (red, green, blue)


def _draw_cell(
    axes: Axes, corner: tuple[int, int], *, value: float | None, shade: Shade, size: float | None
) -> None:
    """One cell: a shade and its figure, or hatching."""
    from matplotlib.patches import Rectangle

    c, r = corner
    if value is None:
        axes.add_patch(
            Rectangle((c, r), 1, 1, facecolor="white", edgecolor=RULE, hatch="////", linewidth=1.5)
        )
        return
    axes.add_patch(Rectangle((c, r), 1, 1, facecolor=shade, edgecolor="white", linewidth=1.5))
    if size is not None:
        axes.text(c + 0.5, r + 0.5, short(value), ha="center", va="center", fontsize=size, color=INK)


def _names(axes: Axes, rows: int, columns: int, *, size: float) -> None:
    """Names of rows and columns."""
    across, up = axes.get_yaxis_transform(), axes.get_xaxis_transform()
    for r in range(rows):
        axes.text(-0.015, r + 0.5, mark(r), transform=across, ha="right", va="center", fontsize=size)
    for c in range(columns):
        axes.text(c + 0.5, 1.02, mark(rows + c), transform=up, ha="center", va="bottom", fontsize=size)


def short(value: float) -> str:
    """A figure that fits a cell: whole below 100,000, then in thousands and millions."""
    size = abs(value)
    if size >= 99.5e6:
        return f"{value / 1e6:,.0f} M"
    if size >= 99_999.5:
        return f"{value / 1e3:,.0f} k"
    return f"{value:,.0f}" if size >= 99.5 or value == int(value) else f"{value:.1f}"
