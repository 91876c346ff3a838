"""From a matplotlib figure to SVG that may stand inside a page.

Names of nodes never pass through matplotlib: it would measure them with a font that has no Chinese, and read
a dollar sign as mathematics. A figure carries ASCII marks instead; the escaped names are put in afterwards
and the browser's own fonts draw them.
"""

from __future__ import annotations

import html
import io
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDE, NARROW = 540.0, 340.0
"""Width of the two drawings in points: for a wide card and for a telephone."""

LABEL_COLUMNS = 22

INK = "#1f2933"
MUTED = "#616e7c"
RULE = "#e1e6eb"

_STYLE: Mapping[str, object] = {
    "svg.fonttype": "none",  # text stays text: selectable, and drawn with the reader's fonts
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # only measures; the page names the fonts that are drawn
    "font.size": 12,
    "axes.edgecolor": RULE,
    "axes.linewidth": 1,
    "axes.labelcolor": MUTED,
    "axes.labelsize": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 1,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "text.color": INK,
}

_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
_DROPPED = re.compile(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->", re.DOTALL)
_SIZE = re.compile(r'(<svg[^>]*?) width="[^"]*"|(<svg[^>]*?) height="[^"]*"')
_MARK = re.compile(r"@@(\d+)@@")
_TAG = re.compile(r"<[^>]*>")
_LONG_NUMBER = re.compile(r"(\.\d\d)\d+")


@contextmanager
def plot_style(name: str) -> Iterator[None]:
    """Draw inside this: the report's look, and ids that depend on ``name`` alone."""
    import matplotlib as mpl

    with mpl.rc_context({**_STYLE, "svg.hashsalt": name}):  # type: ignore[dict-item]  # keys are literals there
        yield


def mark(position: int) -> str:
    """Stand for the name at a position: plain ASCII that occurs nowhere else in a figure."""
    return f"@@{position}@@"


def inline_svg(figure: Figure, name: str, *, labels: tuple[str, ...], title: str) -> str:
    """Turn a figure into one ``<svg>`` element.

    Args:
        figure: Drawn inside `plot_style`; one point of it is one CSS pixel at full size.
        name: Prefix of every id inside, so that several plots can share a page.
        labels: Texts for the marks, not escaped.
        title: What a screen reader says instead of the picture, not escaped.

    Returns:
        The element, scaling with its container; no width, height, comment, style sheet or metadata.

    Guarantees:
        The same figure gives the same text; labels and title are escaped.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    out = io.StringIO()
    FigureCanvasSVG(figure).print_svg(out, metadata=_METADATA)  # type: ignore[no-untyped-call]  # matplotlib's gap
    text = out.getvalue()
    text = _DROPPED.sub("", text[text.index("<svg") :])
    for _ in range(2):
        text = _SIZE.sub(lambda found: found.group(1) or found.group(2), text, count=1)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    text = _TAG.sub(lambda tag: _LONG_NUMBER.sub(r"\1", tag.group()), text)  # coordinates, never figures
    text = re.sub(r"\n\s*", "\n", text).strip()
    text = _MARK.sub(lambda found: html.escape(labels[int(found.group(1))]), text)
    return text.replace("<svg", f'<svg role="img" aria-label="{html.escape(title)}"', 1)


def standalone_svg(drawing: str) -> str:
    """A drawing of `inline_svg` as a file of its own, for a paper or a slide.

    Guarantees:
        XML that refers to nothing outside itself; text stays text.
    """
    fonts = "Arial,'Noto Sans CJK SC',sans-serif"
    rules = f"text{{font-family:{fonts};paint-order:stroke;stroke:#fff;stroke-width:3px}}"
    opening, rest = drawing.split(">", 1)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{opening}><style>{rules}</style>{rest}\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """One picture: its name, what it says in words, and the two drawings."""

    name: str
    description: str
    wide: str
    narrow: str


def plot_label(text: str) -> str:
    """Cut a name to the columns that a plot has room for; a Chinese character takes two."""
    used, out = 0, ""
    for character in text:
        used += 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if used > LABEL_COLUMNS:
            return out.rstrip() + "…"
        out += character
    return out


def draw_twice(
    name: str, description: str, *, draw: Callable[[Figure, float], float], labels: tuple[str, ...]
) -> Plot:
    """Draw for both widths; ``draw`` fills the figure and returns the height it wants."""
    from matplotlib.figure import Figure

    drawings = []
    for width in (WIDE, NARROW):
        unique = f"{name}-{width:.0f}"
        with plot_style(unique):
            figure = Figure(figsize=(width / 72, 1), dpi=72)
            height = draw(figure, width)
            figure.set_size_inches(width / 72, height / 72)
            drawings.append(inline_svg(figure, unique, labels=labels, title=description))
    return Plot(name=name, description=description, wide=drawings[0], narrow=drawings[1])


def place(figure: Figure, box: tuple[float, float, float, float], *, width: float, height: float) -> Axes:
    """Add axes at (left, top, right, bottom) margins in points."""
    left, top, right, bottom = box
    return figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )
