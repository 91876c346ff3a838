"""From a figure to SVG inside a page."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from matplotlib.figure import Figure

from fedmed.report.svg import (
    LABEL_COLUMNS,
    draw_twice,
    inline_svg,
    mark,
    plot_label,
    plot_style,
    standalone_svg,
)


def drawn(labels: tuple[str, ...] = ("one",), *, name: str = "plot", title: str = "A plot") -> str:
    """A small plot with marks."""
    with plot_style(name):
        figure = Figure(figsize=(3, 2), dpi=72)
        axes = figure.add_axes((0.2, 0.2, 0.7, 0.7))
        axes.plot([0, 1], [0.123456, 0.8281], clip_on=True)
        axes.text(0.5, 0.5, "0.8281")
        for position in range(len(labels)):
            axes.text(0.1, 0.1 * position, mark(position))
        return inline_svg(figure, name, labels=labels, title=title)


def test_names_are_escaped_and_chinese_needs_no_font() -> None:
    text = drawn(("上海 <script>alert(1)</script> $x^2$",), title='"quoted" <b>')
    assert "上海 &lt;script&gt;alert(1)&lt;/script&gt; $x^2$" in text
    assert 'aria-label="&quot;quoted&quot; &lt;b&gt;"' in text
    assert "<script>" not in text


def test_a_name_that_looks_like_a_mark_is_left_alone() -> None:
    assert f">{mark(1)}</text>" in drawn((mark(1), "second"))


def test_figures_in_labels_keep_all_their_digits() -> None:
    text = drawn()
    assert ">0.8281</text>" in text
    assert not re.search(r'd="[^"]*\.\d{3}', text)


def test_the_element_scales_and_carries_nothing_from_outside() -> None:
    text = drawn()
    root = ET.fromstring(text)  # noqa: S314  # made by this very test
    assert root.get("viewBox")
    assert root.get("width") is root.get("height") is None
    assert root.get("role") == "img"
    assert not re.search(r"<metadata|<style|<!--|<\?xml|DOCTYPE", text)
    addresses = set(re.findall(r"https?://[^\"'\s]+", text))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def test_a_file_of_its_own_refers_to_nothing_outside_and_keeps_its_text() -> None:
    drawing = ET.fromstring(standalone_svg(drawn(("上海 & 江苏",))).encode())  # noqa: S314  # our own text
    texts = ["".join(one.itertext()) for one in drawing.iter("{http://www.w3.org/2000/svg}text")]
    assert "上海 & 江苏" in texts
    addresses = [value for one in drawing.iter() for name, value in one.items() if name.endswith("href")]
    assert all(value.startswith("#") for value in addresses)
    styles = "".join(one.text or "" for one in drawing.iter("{http://www.w3.org/2000/svg}style"))
    assert not re.search(r"url\(|@import", styles)


def test_ids_carry_the_name_and_every_reference_is_there() -> None:
    text = drawn(name="left")
    ids = re.findall(r'\bid="([^"]+)"', text)
    used = re.findall(r'url\(#([^)]+)\)|href="#([^"]+)"', text)
    assert all(one.startswith("left-") for one in ids)
    assert {a or b for a, b in used} <= set(ids)
    assert len(ids) == len(set(ids))


def test_the_same_figure_gives_the_same_text() -> None:
    assert drawn() == drawn()


def test_a_long_name_is_cut_by_its_width() -> None:
    assert plot_label("安徽 Anhui") == "安徽 Anhui"
    assert plot_label("a" * 40) == "a" * LABEL_COLUMNS + "…"
    assert plot_label("某" * 40) == "某" * (LABEL_COLUMNS // 2) + "…"


def test_both_drawings_have_the_height_that_was_asked_for() -> None:
    def draw(figure: Figure, width: float) -> float:
        figure.add_axes((0.1, 0.1, 0.8, 0.8))
        return width / 2

    plot = draw_twice("half", "words", draw=draw, labels=())
    assert 'viewBox="0 0 540 270"' in plot.wide
    assert 'viewBox="0 0 340 170"' in plot.narrow
