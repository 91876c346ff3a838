"""Pages of tables: escaped, self-contained, the same for the same value."""

from __future__ import annotations

import re
from dataclasses import replace

from fedmed.report.page import Tile
from fedmed.report.sheet import Cell, Section, Sheet, Tone, render_sheet
from fedmed.report.svg import Plot

HOSTILE = '<script>alert("x")</script>'


def sheet(text: str = "数据质量") -> Sheet:
    cells = (Cell(text=text, note=text, tone=Tone.BAD), Cell(text="12", is_number=True, share=0.25))
    section = Section(name="found", heading=text, lead=text, columns=("Rule", text), rows=(cells,))
    words = Section(name="words", heading="Words", sentences=(text,))
    return Sheet(
        kicker=text,
        title=text,
        finding=text,
        meta=((text, text),),
        tiles=(Tile(name=text, value="0.95", note=text),),
        warnings=(text,),
        sections=(section, words),
        footer=text,
        is_good=False,
    )


def test_every_text_is_escaped() -> None:
    page = render_sheet(sheet(HOSTILE))
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 17


def test_a_page_shows_its_table_bars_and_words_and_refers_to_nothing_outside() -> None:
    page = render_sheet(sheet())
    assert page == render_sheet(sheet())
    assert '<span class="badge exposed">数据质量</span>' in page
    assert 'style="width: 25.00%"' in page
    assert re.search(r'<td data-name="[^"]+" class="number">', page)
    assert not any(word in page for word in ("http", "src=", "<script", "@import", "url("))
    assert "nav class" not in page


def test_a_long_page_has_a_table_of_contents() -> None:
    sections = tuple(Section(name=f"part-{i}", heading=f"Part {i}") for i in range(7))
    page = render_sheet(Sheet(kicker="", title="t", finding="", sections=sections))
    assert '<a href="#part-3">Part 3</a>' in page


def test_a_section_shows_each_of_its_pictures_in_both_widths() -> None:
    plots = tuple(
        Plot(name=name, description=name, wide=f"<svg>{name} wide</svg>", narrow=f"<svg>{name} narrow</svg>")
        for name in ("one", "two")
    )
    section = Section(name="pictures", heading="Pictures", plots=plots)
    page = render_sheet(Sheet(kicker="", title="t", finding="", sections=(section,)))
    for name in ("one", "two"):
        assert f'<div class="wide"><svg>{name} wide</svg></div>' in page
        assert f'<div class="narrow"><svg>{name} narrow</svg></div>' in page


def test_a_row_of_many_columns_folds_on_a_phone_into_named_figures() -> None:
    cells = tuple(Cell(text=str(number), is_number=number > 0) for number in range(5))
    columns = ("Choice", "Front", "AUC", "Bytes", "Seconds")
    wide = Section(name="wide", heading="Wide", columns=columns, rows=(cells,))
    page = render_sheet(Sheet(kicker="", title="t", finding="", sections=(wide,)))
    assert '<table class="sheet fold">' in page
    assert re.findall('data-name="([^"]*)"', page) == ["Front", "AUC", "Bytes", "Seconds"]
    few = replace(wide, columns=columns[:4], rows=(cells[:4],))
    assert '<table class="sheet">' in render_sheet(Sheet(kicker="", title="t", finding="", sections=(few,)))
