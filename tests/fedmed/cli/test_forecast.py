"""What `fedmed study check` foretells: remedies where noise will hide an answer, none where not."""

from __future__ import annotations

import datetime
import re
from typing import Any, cast

import pytest
from rich.console import Console

from fedmed.cli.check import check_document, check_lines
from fedmed.cli.forecast import VERDICTS, forecast_of
from fedmed.cli.ready_kinds import ReadyStudy
from fedmed.cli.ready_studies import ready_study
from fedmed.protocol.schedule import schedule_for
from fedmed.study import StudySpec, load_study

DAY = datetime.date(2026, 1, 1)


def noisy(kind: ReadyStudy, *, epsilon: float = 1.0, persons: int = 20_000, delta: str = "") -> StudySpec:
    """A ready study with noise in place of exact sums."""
    text = ready_study(kind, today=DAY).replace('protection = "exact"', f"epsilon = {epsilon}\n{delta}")
    text = re.sub(r"(?m)^(shanghai|jiangsu|zhejiang|anhui) = \d+", rf"\1 = {persons // 4}", text)
    bounds = "high = 60, mean_low = 0.5, mean_high = 20 }   #"
    return load_study(re.sub(r"high = 60 }\s+#", bounds, text))


def told(spec: StudySpec) -> dict[str, Any]:
    """The forecast of a study; Any: figures and words."""
    return cast("dict[str, Any]", forecast_of(spec, schedule_for(spec)))


@pytest.mark.slow
def test_noise_that_will_hide_a_fit_is_foretold_and_a_fit_that_will_be_seen_too() -> None:
    # One delta for both, so that the noise is worked out once.
    delta = "delta = 1e-7"
    hidden = told(noisy(ReadyStudy.GLM, delta=delta))
    found = hidden["forecast"]
    assert (found["prospect"], found["hidden_first"]) == ("hidden", "age")
    assert found["verdict"] == VERDICTS["hidden"]
    assert [len(found[words]) for words in ("would_do", "would_help")] == [2, 3]
    seen = told(noisy(ReadyStudy.GLM, delta=delta, persons=800_000))
    assert seen["forecast"]["prospect"] == "visible"
    assert not {"would_do", "would_help"} & set(seen["forecast"])
    for term, error in hidden["noise_errors"].items():
        assert seen["noise_errors"][term] == pytest.approx(error / 40, rel=0.02)


@pytest.mark.slow
def test_what_is_said_to_do_does() -> None:
    # The demonstration's rows were refused at epsilon 1 and 4, for age, and gave a table at 8.
    assert told(noisy(ReadyStudy.GLM, epsilon=8.0))["forecast"]["prospect"] == "visible"
    epsilon, persons = told(noisy(ReadyStudy.GLM))["forecast"]["would_do"]
    enough = float(epsilon.removeprefix("epsilon "))
    assert told(noisy(ReadyStudy.GLM, epsilon=enough))["forecast"]["prospect"] == "visible"
    many = int(persons.split()[0].replace(",", ""))
    assert told(noisy(ReadyStudy.GLM, persons=many))["forecast"]["prospect"] == "visible"


@pytest.mark.slow
def test_curves_are_foretold_too() -> None:
    delta = "delta = 1e-6"
    assert told(noisy(ReadyStudy.SURVIVAL, delta=delta))["forecast"]["prospect"] == "visible"
    found = told(noisy(ReadyStudy.SURVIVAL, delta=delta, persons=600))["forecast"]
    assert found["prospect"] == "hidden"
    assert found["noise_moves_a_curve_by"] > 0.1
    assert found["would_do"][0].startswith("epsilon ")


@pytest.mark.parametrize("kind", [ReadyStudy.GLM, ReadyStudy.STATISTICS])
def test_exact_answers_need_no_forecast(kind: ReadyStudy) -> None:
    document = check_document(load_study(ready_study(kind, today=DAY)))
    assert not {"forecast", "noise_errors"} & set(document)


def test_people_read_the_names_of_columns_as_they_are() -> None:
    console = Console(width=100)
    document = {"forecast": {"rows_over_noise": 0.67}, "noise_errors": {"hosp_lv[2]": 0.01}}
    with console.capture() as shown:
        console.print(*check_lines(document))
    for words in ("rows over noise", "hosp_lv[2]"):
        assert words in shown.get()
