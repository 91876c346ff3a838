from __future__ import annotations

import datetime

import pytest

from fedmed.cli.check import check_document
from fedmed.cli.new_study import demonstration_file
from fedmed.cli.ready_kinds import ReadyStudy
from fedmed.cli.ready_studies import ready_study
from fedmed.cli.what_leaves import what_leaves
from fedmed.protocol.schedule import schedule_for
from fedmed.study import load_study

DAY = datetime.date(2026, 1, 1)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            ReadyStudy.STATISTICS,
            ("mean of medfee_sumamt by disease, hosp_lv: 44 cells", "fewer than 11 persons"),
        ),
        (ReadyStudy.FLOW, ("flow of rows by home, place of care: 25 cells",)),
        (
            ReadyStudy.GLM,
            (
                "poisson coefficients",
                "11 persons in a group or 10 events a term",
                "at most 25 rounds",
                "first round counts persons",
            ),
        ),
        (ReadyStudy.SURVIVAL, ("3 curves with intervals, at most 12 points each, log-rank test",)),
    ],
)
def test_the_check_says_what_leaves_a_province(kind: ReadyStudy, words: tuple[str, ...]) -> None:
    document = check_document(load_study(ready_study(kind, today=DAY)))
    told = str(document["what_leaves"])
    for word in words:
        assert word in told
    assert "noise_multiplier" not in str(document["privacy"])


def test_a_training_study_says_nothing_of_sums_by_cell() -> None:
    schedule = schedule_for(load_study(ready_study(ReadyStudy.FLOW, today=DAY)))
    assert what_leaves(load_study(demonstration_file(DAY)), schedule) == {}
