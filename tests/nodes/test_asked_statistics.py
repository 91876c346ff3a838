from __future__ import annotations

from fedmed.study.statistics import StatisticKind
from fedmed_nodes.asked_statistics import KINDS_ZH, asked_lines, asked_statistics
from tests.every_statistic import EVERY
from tests.small_province import small_study
from tests.small_question import small_question


def test_an_operator_reads_every_statistic_with_its_cells_and_conditions_in_both_languages() -> None:
    asked = asked_statistics(small_question(statistics=EVERY))
    assert [one["name"] for one in asked] == [entry["name"] for entry in EVERY]
    english, chinese = (asked_lines(asked, chinese=zh) for zh in (False, True))
    assert english[2].strip() == "money: sum of cost by sex (2), 3 cells; only level in 1, 2, 3"
    assert english[8].strip() == "ratio: ratio of fund / cost by level (3), 4 cells"
    assert english[9].endswith("12 cells; events: level in 3")
    assert chinese[2].strip() == "money：合计，cost，分组 sex（2类），共3格；条件 level in 1, 2, 3"


def test_other_kinds_ask_no_statistics() -> None:
    assert asked_statistics(small_study()) == []


def test_every_kind_has_a_chinese_name() -> None:
    assert set(KINDS_ZH) == {kind.value for kind in StatisticKind}
