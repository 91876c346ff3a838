from __future__ import annotations

import pytest

from fedmed.report.answers.matrix import flow_plot, short


def test_a_blank_cell_is_hatched_and_holds_no_figure() -> None:
    plot = flow_plot(
        ((5000.0, 12.0), (None, 40.0)),
        names=(("31 上海", "32"), ("31 上海", "32")),
        name="flow",
        axes_names=("Home", "Place"),
        description="from home to place",
    )
    assert "5,000" in plot.wide
    assert "pattern" in plot.wide  # the hatching
    assert plot.wide.count("31 上海") == 2


def test_who_stays_at_home_has_a_colour_of_its_own() -> None:
    """A stranger must not read the diagonal against the shades of those who travel."""

    def shades(places: tuple[str, str]) -> str:
        names = (("31", "32"), places)
        plot = flow_plot(
            ((900.0, 10.0), (20.0, 800.0)), names=names, name="flow", axes_names=("a", "b"), description="d"
        )
        return plot.wide

    assert shades(("31", "32")).count("#e8ebed") == 2
    assert "#e8ebed" not in shades(("H1", "H2"))


@pytest.mark.parametrize(
    ("value", "text"), [(12, "12"), (99_999, "99,999"), (171_000, "171 k"), (2.5e8, "250 M"), (3.25, "3.2")]
)
def test_a_figure_fits_its_cell(value: float, text: str) -> None:
    assert short(value) == text
