from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fedmed.analytics.noisy_newton import HIDDEN, SAFE
from fedmed.errors import ConfigError
from fedmed.report.answers.by_kind import READERS, answer_of
from fedmed.report.answers.regression import HIDDEN_STRENGTH, SAFE_STRENGTH
from fedmed.report.answers.tables import table_section
from fedmed.types import StudyKind

Make = Callable[..., dict[str, Any]]


def test_a_coefficient_table_begins_as_statisticians_expect(make_document: Make) -> None:
    table = answer_of(make_document("regression")).tables[0]
    names = [field.name for field in table.fields]
    expected = ["term", "estimate", "std_error", "statistic", "p_value", "conf_low", "conf_high"]
    assert names[:7] == expected
    noisy = answer_of(make_document("regression", exact=False)).tables[0]
    assert [field.name for field in noisy.fields][7:9] == ["noise_low", "noise_high"]


def test_the_constant_is_no_effect(make_document: Make) -> None:
    answer = answer_of(make_document("regression"))
    assert answer.tables[0].column("ratio")[0] is None
    assert "intercept" not in answer.figures[0].plot.wide
    assert "gend: 2" in answer.figures[0].plot.wide
    assert "1.02 (age)" in answer.finding


@pytest.mark.parametrize(
    ("exact", "dispersion", "said"),
    [
        (True, 5.04, "2.2 times as wide"),
        (True, 1.2, None),
        (True, None, None),
        (False, 1.0, "noise hides whether they do"),
    ],
)
def test_a_poisson_model_warns_of_counts_that_spread_more(
    make_document: Make, exact: bool, dispersion: float | None, said: str | None
) -> None:
    def change(document: dict[str, Any]) -> None:
        document["result"]["model"]["dispersion"] = dispersion

    notes = answer_of(make_document("regression", exact=exact, change=change)).notes
    found = [note for note in notes if "negative_binomial" in note]
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_survival_says_where_the_curves_end_and_whether_they_differ(make_document: Make) -> None:
    answer = answer_of(make_document("survival"))
    assert "78.5\u00a0% (hosp_lv 3)" in answer.finding
    assert answer.tiles[0][1:] == ("78.5\u00a0%", "without the event after time 360")
    assert "p < 0.0001" in answer.finding
    assert len(answer.tables[0].rows) == 24


def test_a_fit_near_the_limit_says_that_its_intervals_are_rough(make_document: Make) -> None:
    assert (HIDDEN_STRENGTH, SAFE_STRENGTH) == (HIDDEN, SAFE)
    for strength, warns in ((2.3, True), (4.1, False), (None, False)):

        def change(document: dict[str, Any], strength: float | None = strength) -> None:
            document["result"]["model"]["strength"] = strength

        notes = answer_of(make_document("regression", exact=False, change=change)).notes
        assert any("times its noise" in note for note in notes) == warns


def test_curves_without_a_point_have_no_picture(make_document: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        for curve in document["result"]["curves"]:
            curve["points"] = []

    answer = answer_of(make_document("survival", change=change))
    assert answer.figures == ()
    assert "Not every curve may be shown" in answer.finding


def test_a_result_of_another_version_is_refused(make_document: Make) -> None:
    with pytest.raises(ConfigError, match="another version"):
        answer_of(make_document("survival", change=lambda d: d["result"].pop("curves")))
    with pytest.raises(ConfigError, match="no reader"):
        answer_of(make_document("survival", change=lambda d: d["study"].update(kind="training")))


def test_tiles_of_curves_compare_them_at_one_time(make_document: Make) -> None:
    """The first curve ends a month early: all tiles stand at its end, as the finding does."""
    answer = answer_of(make_document("survival", change=lambda d: d["result"]["curves"][0]["points"].pop()))
    assert {note for _, _, note in answer.tiles[:2]} == {"without the event after time 330"}
    assert [value in answer.finding for _, value, _ in answer.tiles[:2]] == [True, True]


def test_every_kind_of_question_but_training_has_a_reader() -> None:
    assert set(READERS) == {kind.value for kind in StudyKind} - {"training"}


def test_a_statistic_says_its_extremes_and_its_alarms(make_document: Make) -> None:
    answer = answer_of(make_document("statistics"))
    assert answer.finding == (
        "Mean cost by chapter and level: from 7,000.00 yuan (chapter J<, level 1 primary) to 12,000.25 yuan "
        "(chapter I, level 2 <second>)."
    )
    assert [figure.plot.name for figure in answer.figures] == ["flow-stays", "months-fund-0"]
    assert "Warned of: 2024-04." in answer.figures[1].hint


def quantiles(document: dict[str, Any]) -> None:
    """The first statistic as exact quantiles of a grid of 10 yuan."""
    one = document["result"]["statistics"][0]
    levels = ["I", "J<", "others"]
    lows = [None if step is None else 10.0 * step for step in (3, 90, 0, 80, None, None)]
    one |= {"kind": "quantile", "interval": "grid", "name": "cost", "levels": {"chapter": levels}}
    one["by"] = {"chapter": [level for level in levels for _ in range(2)]}
    one["columns"] = {
        "probability": [0.5, 0.996] * 3,
        "estimate": [None if low is None else low + 5 for low in lows],
        "conf_low": lows,
        "conf_high": [None if low is None else low + 10 for low in lows],
        "persons": [40] * 6,
    }


def test_an_exact_quantile_is_the_step_that_holds_it(make_document: Make) -> None:
    answer = answer_of(make_document("statistics", change=quantiles))
    section = table_section(answer.tables[0])
    assert section.columns == ("chapter", "Probability", "yuan: step from", "to", "Persons")
    assert [cell.text for cell in section.rows[1]] == ["I", "0.996", "900.00", "910.00", "40"]
    assert answer.finding == (
        "Cost (quantiles) at 0.5 by chapter: from 0.00–10.00 yuan (chapter J<) to 30.00–40.00 yuan "
        "(chapter I)."
    )
    assert answer.tables[0].column("estimate")[0] == 35.0, "files hold the middle"


def noisy_means(*intervals: tuple[float, float] | None) -> Callable[[dict[str, Any]], None]:
    """The first statistic with these intervals of noise, in its first cells."""

    def change(document: dict[str, Any]) -> None:
        columns = document["result"]["statistics"][0]["columns"]
        each = [*intervals, *[None] * (9 - len(intervals))]
        columns["conf_low"], columns["conf_high"] = (
            [None if ends is None else ends[side] for ends in each] for side in (0, 1)
        )
        columns["estimate"] = [None if ends is None else sum(ends) / 2 for ends in each]

    return change


def test_a_headline_names_no_number_that_noise_hides(make_document: Make) -> None:
    change = noisy_means((0.0, 164_000.0), (7000.0, 9000.0), None, (5000.0, 5200.0))
    finding = answer_of(make_document("statistics", exact=False, change=change)).finding
    assert "from 5,100.00 yuan" in finding
    assert "to 8,000.00 yuan" in finding
    change = noisy_means((0.0, 164_000.0))
    finding = answer_of(make_document("statistics", exact=False, change=change)).finding
    assert finding == "Mean cost: noise hides every declared cell."

    def count(document: dict[str, Any]) -> None:
        noisy_means((-591.0, -140.0), (417.0, 868.0))(document)
        document["result"]["statistics"][0]["unit"] = "persons"

    finding = answer_of(make_document("statistics", exact=False, change=count)).finding
    assert finding.startswith("Mean cost: 642 persons"), "nobody counts fewer than none"


def test_counted_persons_stand_once_in_a_table(make_document: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        one = document["result"]["statistics"][1]
        one |= {"unit": "persons", "kind": "count", "levels": {"home": ["31"]}, "by": {"home": ["31"]}}
        one["columns"] = {"estimate": [900], "persons": [900]}

    table = answer_of(make_document("statistics", change=change)).tables[1]
    assert table_section(table).columns == ("home", "Persons")


def test_a_warning_says_which_rule_raises_it(make_document: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        one = document["result"]["statistics"][2]
        one["rule"] = {"baseline_months": 2, "trend": False, "allowance": 1.0, "limit": 6.0}
        one["columns"] |= {"cusum_above": [0.0, 0.0, 0.1, 7.0, None], "cusum_below": [0.0] * 4 + [None]}

    hint = answer_of(make_document("statistics", change=change)).figures[1].hint
    assert "outside is no alarm" in hint
    assert "exceed 1, added up since 2024-03. A sum beyond 6 (dashed)" in hint
    assert hint.endswith("Warned of: 2024-04.")


def test_blanks_are_explained_and_a_result_without_them_says_so(make_document: Make) -> None:
    notes = answer_of(make_document("statistics")).notes
    assert "fewer than 11 persons" in notes[0]
    bare = make_document("statistics", change=lambda d: d["result"].pop("minimum_cell"))
    assert "not hidden" in answer_of(bare).notes[0]
