"""Pages of tables: escaped, self-contained, the same for the same value."""

from __future__ import annotations

from fedmed.report.page import Tile
from fedmed.report.sheet import Cell, Section, Sheet, Tone, render_sheet

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
    assert page.count("&lt;script&gt;") == 16


def test_a_page_shows_its_table_bars_and_words_and_refers_to_nothing_outside() -> None:
    page = render_sheet(sheet())
    assert page == render_sheet(sheet())
    assert '<span class="badge exposed">数据质量</span>' in page
    assert 'style="width: 25.00%"' in page
    assert '<td class="number">' in page
    assert not any(word in page for word in ("http", "src=", "<script", "@import", "url("))
    assert "nav class" not in page


def test_a_long_page_has_a_table_of_contents() -> None:
    sections = tuple(Section(name=f"part-{i}", heading=f"Part {i}") for i in range(7))
    page = render_sheet(Sheet(kicker="", title="t", finding="", sections=sections))
    assert '<a href="#part-3">Part 3</a>' in page
