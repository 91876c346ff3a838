"""Regressions through the whole path: real apps, real custodians, encrypted sums, round by round."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import statsmodels.api as sm

from fedmed.analytics import noisy_newton
from fedmed.errors import DataContractError
from fedmed.plans.regression import bounded_model
from fedmed.plans.stage import stage_of
from fedmed.programs.contract import Arrays, OpenedSum
from fedmed.programs.regression import ExactRegressionProgram
from fedmed.protocol.schedule import schedule_for
from fedmed.simulation import run_question
from fedmed.study import RegressionStudy, StudySpec
from fedmed.types import RoundKind
from fedmed_nodes.answers.by_kind import half_for
from fedmed_nodes.answers.regression import RegressionAnswerer
from fedmed_nodes.sources import TableSource
from tests.small_regression import NMES_TERMS, ROSSI_TERMS, ROSSI_TIME, fitting, nmes, provinces, rossi


def fitted(result: Mapping[str, Any]) -> np.ndarray:
    """Estimates and standard errors, shape (terms, 2)."""
    return np.array([[line["estimate"], line["std_error"]] for line in result["coefficients"]])


def small(rows: int = 400) -> pd.DataFrame:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame({"age": rng.uniform(20, 80, rows), "level": rng.choice(["1", "2"], rows)})
    eta = -1 + 0.03 * frame.age + 0.3 * (frame.level == "2")
    frame["visits"] = rng.poisson(np.exp(eta)).astype(float)
    frame["stay"] = (rng.random(rows) < 1 / (1 + np.exp(1 - eta))).astype(float)
    frame["cost"] = rng.gamma(2.0, np.exp(eta + 6) / 2) + 1
    return frame


TERMS = [{"column": "age", "low": 0, "high": 100}, {"column": "level", "levels": ["1", "2"]}]


def ask(frame: pd.DataFrame, folder: Path, **section: Any) -> Mapping[str, Any]:
    tables = provinces(frame)
    spec = fitting("regression", {"terms": TERMS, **section}, tables)
    return run_question(spec, tables, folder=folder)


def test_an_exact_fit_through_four_custodians_equals_the_pooled_one(tmp_path: Path) -> None:
    frame = small()
    document = ask(frame, tmp_path, family="logistic", outcome={"column": "stay"})
    x = np.column_stack([np.ones(len(frame)), frame.age, frame.level == "2"]).astype(float)
    expected = sm.GLM(frame.stay, x, family=sm.families.Binomial()).fit(tol=1e-12, maxiter=100)
    np.testing.assert_allclose(
        fitted(document["result"]), np.stack([expected.params, expected.bse], axis=1), rtol=1e-6
    )
    assert document["aggregation"]["rounds"] < 10, "it stops when it has converged"
    model = document["result"]["model"]
    assert (model["rows"], model["events"]) == (400, frame.stay.sum())
    assert model["log_likelihood"] == pytest.approx(expected.llf, abs=1e-6)
    assert model["aic"] == pytest.approx(expected.aic, abs=1e-6)
    assert document["privacy"]["epsilon"] is None


@pytest.mark.slow
@pytest.mark.parametrize("family", ["poisson", "negative_binomial", "gamma"])
def test_a_fit_with_exposure_equals_the_pooled_one(family: str, tmp_path: Path) -> None:
    """Days of observation from 1 to 730, most of them short; bounds clamp two rows, and one row has none."""
    frame = observed(600)
    frame.loc[[3, 5, 9], "days"] = (2000.0, 0.5, 0.0)
    outcome = {"column": "paid", "low": 1, "high": 1e6} if family == "gamma" else VISITS
    result = ask(frame, tmp_path, family=family, outcome=outcome, exposure=DAYS)["result"]
    kept = frame[frame.days > 0]
    x = np.column_stack([np.ones(len(kept)), kept.age, kept.level == "2"]).astype(float)
    days = kept.days.clip(1, 730)
    if family == "poisson":
        due = sm.GLM(kept.visits, x, family=sm.families.Poisson(), exposure=days).fit(tol=1e-12)
    elif family == "gamma":
        log_link = sm.families.Gamma(sm.families.links.Log())
        due = sm.GLM(kept.paid, x, family=log_link, exposure=days).fit(tol=1e-12)
    else:
        due = sm.NegativeBinomial(kept.visits, x, exposure=days).fit(disp=0, maxiter=200, gtol=1e-8)
    found = fitted(result)[:3]
    np.testing.assert_allclose(found, np.stack([due.params, due.bse], axis=1)[:3], rtol=1e-6, atol=1e-7)
    if family == "gamma":
        assert result["model"]["dispersion"] == pytest.approx(due.scale, rel=1e-6)
    else:
        assert result["model"]["log_likelihood"] == pytest.approx(due.llf, abs=1e-6)
    assert (result["exposure"], result["model"]["rows"]) == ("days", len(frame) - 1)


DAYS = {"column": "days", "low": 1, "high": 730}
VISITS = {"column": "visits", "high": 400}


def observed(rows: int) -> pd.DataFrame:
    """Visits and amounts in proportion to days of observation."""
    frame, rng = small(rows), np.random.default_rng(8)
    frame["days"] = np.minimum(730.0, 1 + rng.exponential(60, rows))
    spread = rng.gamma(2, 0.5, rows)
    drawn = rng.poisson(frame.days / 30 * np.exp(-1 + 0.02 * frame.age) * spread)
    frame["visits"] = np.minimum(drawn.astype(float), 400)
    frame["paid"] = 1 + frame.days * np.exp(0.02 * frame.age) * spread
    return frame


def without_noise(spec: StudySpec, frame: pd.DataFrame) -> np.ndarray:
    """What the rounds of a private fit come to on the same rows when nothing is added."""
    assert isinstance(spec, RegressionStudy)
    table = pa.concat_tables(provinces(frame).values())
    answerer = half_for(spec).read(TableSource(table, declared_persons=len(frame), data_year=2026))
    assert isinstance(answerer, RegressionAnswerer)
    model, rounds = bounded_model(spec), 40
    fit = noisy_newton.begin(model)
    for _ in range(rounds):
        values = model.node_sum(fit.trial, answerer.rows).values
        fit = noisy_newton.advance(fit, model.read(values), noise=0.0, model=model, rounds=rounds)
    return np.array([line.estimate for line in noisy_newton.finish(fit, model).coefficients])


@pytest.mark.slow
@pytest.mark.parametrize("family", ["poisson", "gamma"])
def test_a_noisy_fit_with_exposure_lies_within_its_noise_of_the_one_without(
    family: str, tmp_path: Path
) -> None:
    """Noise comes from the system, so the bound is 7 standard deviations: 1e-11 for the three terms."""
    frame = observed(6000)
    outcome = {"column": "visits", "high": 60, "mean_low": 0.5, "mean_high": 20}
    if family == "gamma":
        outcome = {"column": "paid", "low": 1, "high": 5_000, "mean_low": 20, "mean_high": 1_000}
    tables = provinces(frame)
    section = {"family": family, "terms": TERMS, "outcome": outcome, "exposure": DAYS, "rounds": 8}
    spec = fitting("regression", section, tables, epsilon=8.0)
    lines = run_question(spec, tables, folder=tmp_path)["result"]["coefficients"]
    due = without_noise(spec, frame)
    for line, wanted in zip(lines, due, strict=True):
        assert abs(line["estimate"] - wanted) < 7 * line["noise_error"]
        assert line["noise_low"] < line["estimate"] < line["noise_high"]
        assert line["conf_low"] < line["noise_low"]


def people(counts: Mapping[str, int], *, rows: int) -> pd.DataFrame:
    """So many persons of each group, with so many rows each; visits and months differ from row to row."""
    rng, who = np.random.default_rng(5), np.repeat(list(counts), list(counts.values()))
    grp = np.repeat(who, rows)
    frame = pd.DataFrame({"psn_no": np.repeat([f"p{i}" for i in range(len(who))], rows), "grp": grp})
    frame["visits"] = rng.poisson(2.0, len(frame)).astype(float)
    frame["is_z"] = (grp == "z") * 1.0
    return frame.assign(month=rng.uniform(0, 12, len(frame)), died=(np.arange(len(frame)) % 3 > 0) * 1.0)


POISSON = {"family": "poisson", "outcome": {"column": "visits", "high": 50}}
COX = {"family": "cox", "time": {"column": "month", "event": "died", "intervals": 12}}
GROUPS = [{"column": "grp", "levels": ["x", "y", "z"]}]
NUMBER = [{"column": "is_z", "low": -1, "high": 2}]


def walked(frame: pd.DataFrame, **section: Any) -> tuple[list[RoundKind], ExactRegressionProgram, Arrays]:
    """The rounds that a fit asks for, with the real halves and no federation around them."""
    cut = [part for _, part in frame.groupby(frame.psn_no.str[1:].astype(int) % 4)]
    tables = {f"node{i}": pa.Table.from_pandas(part, preserve_index=False) for i, part in enumerate(cut, 1)}
    spec = fitting("regression", {"terms": GROUPS, **section}, tables)
    assert isinstance(spec, RegressionStudy)
    sources = (TableSource(t, declared_persons=t.num_rows, data_year=2026) for t in tables.values())
    readers = [half_for(spec).read(source) for source in sources]
    program, terms, kinds = ExactRegressionProgram(spec=spec), schedule_for(spec), []
    state = program.begin()
    while not program.is_finished(state):
        stage = stage_of(terms.stages, len(kinds) + 1)
        inputs = np.frombuffer(program.inputs(state, stage), dtype="<f8")
        total = sum(reader.answer(stage, inputs).values for reader in readers)
        kinds.append(stage.kind)
        opened = OpenedSum(
            stage=stage, round_number=len(kinds), values=np.asarray(total), contributors=(1, 2, 3, 4)
        )
        state = program.absorb(state, opened)
    return kinds, program, state


@pytest.mark.parametrize(
    ("of_z", "rows", "section", "term"),
    [
        (10, 1, {}, r"grp\[z\]"),
        (5, 1, {"min_events_per_term": 5}, r"grp\[z\]"),
        (3, 5, {"max_rows_per_person": 20}, r"grp\[z\]"),
        (3, 5, {"max_rows_per_person": 20, "terms": NUMBER}, "term is_z"),
        (3, 5, {"max_rows_per_person": 20, "terms": [{**GROUPS[0], "levels": ["z", "x", "y"]}]}, r"grp\[z\]"),
        (10, 1, {**COX, "min_events_per_term": 5}, r"grp\[z\]"),
        (10, 1, {**COX, "terms": NUMBER}, "term is_z"),
        (20, 1, {"min_cell": 21}, r"grp\[z\]"),
    ],
)
def test_the_study_is_over_once_persons_are_counted_where_a_group_is_too_small(
    of_z: int, rows: int, section: dict[str, Any], term: str
) -> None:
    """However many rows they have, whatever least number of events, and whatever codes them."""
    asked = section if "family" in section else {**POISSON, **section}
    kinds, program, state = walked(people({"x": 80, "y": 80, "z": of_z}, rows=rows), **asked)
    assert kinds == [RoundKind.SUPPORT]
    least = section.get("min_cell", 11)
    with pytest.raises(DataContractError, match=rf"^{term} rests on fewer than {least} persons") as refusal:
        program.document(state)
    assert refusal.value.exit_code == 7
    assert not re.search(rf"\b({of_z}|{of_z * rows})\b", str(refusal.value))


@pytest.mark.parametrize("terms", [GROUPS, NUMBER])
def test_eleven_persons_with_events_are_enough(terms: list[dict[str, Any]]) -> None:
    frame = people({"x": 80, "y": 80, "z": 11}, rows=1)
    frame["visits"] += 1  # eleven persons, and all of them with an event
    kinds, program, state = walked(frame, **POISSON, terms=terms)
    assert kinds[:2] == [RoundKind.SUPPORT, RoundKind.REGRESSION]
    assert program.document(state)["coefficients"]


def test_events_are_not_shown_where_few_persons_have_none() -> None:
    frame = people({"x": 80, "y": 80, "z": 40}, rows=1)
    for without, shown in ((0, True), (3, False), (11, True)):
        visits = frame.visits.to_numpy() + 1
        visits[:without] = 0
        _, program, state = walked(frame.assign(visits=visits), **POISSON)
        line = program.document(state)["model"]
        assert isinstance(line, dict)
        assert ("events" in line) == shown


def diagnosed(frame: pd.DataFrame, folder: Path, match: str, **section: Any) -> None:
    """The study ends with a diagnosis and exit code 7, and leaves no result behind."""
    with pytest.raises(DataContractError, match=match) as caught:
        ask(frame, folder, **section)
    assert caught.value.exit_code == 7
    assert not (folder / "result.json").exists()


STAY = {"family": "logistic", "outcome": {"column": "stay"}}


@pytest.mark.slow
def test_data_that_have_no_fit_end_with_a_diagnosis(tmp_path: Path) -> None:
    frame = small()
    collinear = [*TERMS, {"column": "months", "low": 0, "high": 1200}]
    diagnosed(frame.assign(months=frame.age * 12), tmp_path, "repeats other terms", **STAY, terms=collinear)
    separated = frame.assign(stay=(frame.age > 50) * 1.0)
    diagnosed(separated, tmp_path, "separates the outcome", **STAY)
    diagnosed(frame.assign(level="1"), tmp_path, "repeats other terms or never varies", **STAY)
    diagnosed(frame.assign(age=np.nan), tmp_path, "no usable row", **STAY)
    diagnosed(frame, tmp_path, "fewer than 90 events for each", **STAY, min_events_per_term=90)
    rare = frame.assign(level=np.where(frame.age < 25, "2", "1"))
    diagnosed(rare, tmp_path, r"level\[2\] rests on fewer than 11 persons with an event: ", **STAY)
    assert not list(tmp_path.iterdir())
    diagnosed(frame, tmp_path, "did not converge in 2 rounds", **STAY, rounds=2)
    even = frame.assign(visits=1.0 + (np.arange(400) % 2))
    diagnosed(
        even,
        tmp_path,
        "use family poisson",
        family="negative_binomial",
        outcome={"column": "visits", "high": 9},
    )


@pytest.mark.slow
def test_bad_scales_and_a_node_without_usable_rows_change_nothing(tmp_path: Path) -> None:
    frame = small()
    plain = fitted(ask(frame, tmp_path, **STAY)["result"])
    huge = [{"column": "age", "low": 0, "high": 1e14}, TERMS[1]]
    scaled = fitted(ask(frame.assign(age=frame.age * 1e12), tmp_path, **STAY, terms=huge)["result"])
    np.testing.assert_allclose(scaled[1] * 1e12, plain[1], rtol=1e-7)
    with_gap = frame.assign(age=np.where(np.arange(400) % 4 == 1, np.nan, frame.age))
    document = ask(with_gap, tmp_path, **STAY)
    rest = frame[np.arange(400) % 4 != 1]
    x = np.column_stack([np.ones(len(rest)), rest.age, rest.level == "2"]).astype(float)
    expected = sm.GLM(rest.stay, x, family=sm.families.Binomial()).fit(tol=1e-12)
    np.testing.assert_allclose(fitted(document["result"])[:, 0], expected.params, rtol=1e-6)


@pytest.mark.slow
def test_a_gamma_fit_of_cost_equals_the_pooled_one(tmp_path: Path) -> None:
    frame = small()
    outcome = {"column": "cost", "low": 1, "high": 1e6}
    document = ask(frame, tmp_path, family="gamma", outcome=outcome)
    x = np.column_stack([np.ones(len(frame)), frame.age, frame.level == "2"]).astype(float)
    expected = sm.GLM(frame.cost, x, family=sm.families.Gamma(sm.families.links.Log())).fit(tol=1e-12)
    np.testing.assert_allclose(
        fitted(document["result"]), np.stack([expected.params, expected.bse], axis=1), rtol=1e-6
    )
    assert document["result"]["model"]["dispersion"] == pytest.approx(expected.scale, rel=1e-6)
    assert "log_likelihood" not in document["result"]["model"]


@pytest.mark.slow
@pytest.mark.parametrize(("family", "likelihood"), [("poisson", -17971.6), ("negative_binomial", -12170.6)])
def test_the_published_likelihoods_of_the_survey_come_out_of_encrypted_sums(
    family: str, likelihood: float, tmp_path: Path
) -> None:
    frame = nmes()
    tables = provinces(frame, by="site")
    section = {"family": family, "outcome": {"column": "visits", "high": 100}, "terms": NMES_TERMS}
    spec = fitting("regression", section, tables, scheme="threshold")
    document = run_question(spec, tables, folder=tmp_path)
    result = document["result"]
    assert result["model"]["log_likelihood"] == pytest.approx(likelihood, abs=0.1)
    assert document["aggregation"]["rounds"] <= 12
    x = pd.DataFrame(
        {
            "intercept": 1.0,
            "hospital": frame.hospital,
            "excellent": (frame.health == "excellent") * 1.0,
            "poor": (frame.health == "poor") * 1.0,
            "chronic": frame.chronic,
            "male": (frame.gender == "male") * 1.0,
            "school": frame.school,
            "insured": (frame.insurance == "yes") * 1.0,
        }
    )
    pooled = sm.Poisson if family == "poisson" else sm.NegativeBinomial
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its line search warns on the way
        expected = pooled(frame.visits, x).fit(disp=0, method="newton", maxiter=300, tol=1e-12)
    np.testing.assert_allclose(fitted(result), np.stack([expected.params, expected.bse], axis=1), rtol=1e-6)


@pytest.mark.slow
def test_a_cox_model_with_ties_equals_lifelines_out_of_encrypted_sums(tmp_path: Path) -> None:
    frame = rossi()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lifelines import CoxPHFitter

        expected = CoxPHFitter().fit(frame, "week", "arrest", fit_options={"precision": 1e-12})
    tables = provinces(frame)
    # Of the married eight were arrested.
    section = {"family": "cox", "time": ROSSI_TIME, "terms": ROSSI_TERMS, "min_cell": 5}
    spec = fitting("regression", section, tables, scheme="threshold")
    document = run_question(spec, tables, folder=tmp_path)
    result = document["result"]
    names = [term["column"] for term in ROSSI_TERMS]
    assert [line["term"] for line in result["coefficients"]] == names
    np.testing.assert_allclose(
        fitted(result),
        np.stack([expected.params_.loc[names], expected.standard_errors_.loc[names]], axis=1),
        rtol=1e-6,
    )
    assert result["model"]["log_likelihood"] == pytest.approx(expected.log_likelihood_, abs=1e-6)
    assert (result["model"]["rows"], result["model"]["events"]) == (432, 114)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["negative_binomial", "cox"])
def test_a_noisy_fit_states_both_intervals_and_spends_what_it_planned(family: str, tmp_path: Path) -> None:
    frame = small(rows=6000)
    frame["month"] = np.random.default_rng(9).uniform(0, 12, len(frame))
    outcome = {"column": "visits", "high": 12, "mean_low": 0.5, "mean_high": 6}
    section: dict[str, Any] = {"family": family, "terms": TERMS, "rounds": 8}
    if family == "cox":
        section |= {"time": {"column": "month", "event": "stay", "interval": 3, "intervals": 4}}
    else:
        section |= {"outcome": outcome}
    tables = provinces(frame)
    spec = fitting("regression", section, tables, epsilon=8.0)
    document = run_question(spec, tables, folder=tmp_path)
    result = document["result"]
    for line in result["coefficients"]:
        ends = ("conf_low", "noise_low", "estimate", "noise_high", "conf_high")
        assert np.all(np.diff([line[end] for end in ends]) > 0)
    assert document["aggregation"]["rounds"] == 8
    assert 0 < document["privacy"]["epsilon_spent"] <= 8.0
    assert ("alpha" in result["model"]) == (family == "negative_binomial")
    assert "rows" not in result["model"], "a count of rows would be a release of its own"
