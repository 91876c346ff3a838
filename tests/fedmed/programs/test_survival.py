"""Survival curves through the whole path, against lifelines on pooled rows."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from fedmed.errors import DataContractError
from fedmed.programs.survival import COUNTS, NOISE_STD, SurvivalProgram
from fedmed.simulation import run_question
from fedmed.study import SurvivalStudy
from tests.small_regression import ROSSI_TIME, fitting, provinces, rossi

BY = {"column": "fin", "levels": ["0", "1"]}


@pytest.mark.slow
def test_exact_curves_and_test_equal_lifelines_at_the_points_that_are_shown(tmp_path: Path) -> None:
    from lifelines import KaplanMeierFitter
    from lifelines.statistics import logrank_test

    frame = rossi()
    tables = provinces(frame)
    spec = fitting("survival", {"time": ROSSI_TIME, "by": BY, "min_cell": 5}, tables, scheme="threshold")
    result = run_question(spec, tables, folder=tmp_path)["result"]
    for curve in result["curves"]:
        own = frame[frame.fin == int(curve["group"])]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # lifelines is not yet quiet under this pandas
            wanted = KaplanMeierFitter().fit(own.week, own.arrest)
            due = wanted.survival_function_at_times([p["time"] for p in curve["points"]]).to_numpy()
        np.testing.assert_allclose([p["survival"] for p in curve["points"]], due, rtol=1e-6)
        assert len(curve["points"]) >= 6
        assert all(p["events"] >= 5 for p in curve["points"])
    no, yes = frame[frame.fin == 0], frame[frame.fin == 1]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = logrank_test(no.week, yes.week, no.arrest, yes.arrest)
    assert result["log_rank"]["statistic"] == pytest.approx(expected.test_statistic, rel=5e-3)
    assert result["log_rank"]["p_value"] == pytest.approx(expected.p_value, rel=2e-2)


@pytest.mark.slow
def test_noisy_curves_state_their_noise(tmp_path: Path) -> None:
    frame = rossi()
    tables = provinces(frame)
    time = {**ROSSI_TIME, "interval": 13, "intervals": 4}
    spec = fitting("survival", {"time": time}, tables, epsilon=8.0)
    document = run_question(spec, tables, folder=tmp_path)
    (curve,) = document["result"]["curves"]
    exact = fitting("survival", {"time": time, "min_cell": 5}, tables)
    (due,) = run_question(exact, tables, folder=tmp_path)["result"]["curves"]
    for point, truth in zip(curve["points"], due["points"], strict=True):
        assert abs(point["survival"] - truth["survival"]) < 0.2
        assert point["low"] <= point["noise_low"] <= point["survival"] <= point["noise_high"] <= point["high"]
    assert document["result"]["noise_std"] > 0
    assert document["privacy"]["epsilon_spent"] <= 8.0


def test_a_group_too_small_is_not_shown(tmp_path: Path) -> None:
    tables = provinces(rossi())
    by = {"column": "prio", "levels": ["0", "18"]}
    spec = fitting("survival", {"time": ROSSI_TIME, "by": by}, tables)
    with pytest.raises(DataContractError, match="group 18 holds fewer than 11 persons"):
        run_question(spec, tables, folder=tmp_path)


@pytest.mark.parametrize(("events", "shown"), [(0, True), (3, False), (10, False), (11, True)])
def test_the_test_is_left_out_where_few_of_a_group_had_the_event(events: int, shown: bool) -> None:
    """With the other group's curve its three digits could tell how many."""
    spec = fitting("survival", {"time": ROSSI_TIME, "by": BY}, provinces(rossi()))
    assert isinstance(spec, SurvivalStudy)
    counts = np.full((2, 2, 52), 5)
    counts[1, 1] = np.arange(52) < events
    document = SurvivalProgram(spec=spec).document({COUNTS: counts, NOISE_STD: np.zeros(1)})
    assert (document["log_rank"] is not None) == shown


@pytest.mark.parametrize(
    ("epsilon", "noise", "counts", "said"),
    [
        (None, 0.0, (40, 0), "11 persons or more have the event.*whose arrest is neither 1"),
        (8.0, 3.0, (0, 0), "noise hides every curve.*raise epsilon"),
    ],
)
def test_a_study_without_any_point_ends_with_a_diagnosis(
    epsilon: float | None, noise: float, counts: tuple[int, int], said: str
) -> None:
    """Everybody is censored; nobody is there, but noise is."""
    tables = provinces(rossi())
    spec = fitting("survival", {"time": ROSSI_TIME, "by": BY}, tables, epsilon=epsilon)
    assert isinstance(spec, SurvivalStudy)
    state = {
        COUNTS: np.tile(np.array(counts)[:, None], (2, 1, 52)),
        NOISE_STD: np.array([noise]),
    }
    with pytest.raises(DataContractError, match=said) as caught:
        SurvivalProgram(spec=spec).document(state)
    assert caught.value.exit_code == 7
