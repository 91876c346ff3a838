"""Federated fits against statsmodels on pooled rows, and fits that must not give a number."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm

from fedmed.analytics.design import Design, Term
from fedmed.analytics.families import Family, evaluate, pack, unpack
from fedmed.analytics.model import Model, ModelRows
from fedmed.analytics.regression import Fit, RegressionTable, advance, begin, fit_arrays, fit_of
from fedmed.analytics.regression import finish as finish_model
from fedmed.errors import DataContractError

NMES = Path(__file__).resolve().parents[4] / "shared" / "data" / "nmes_meps_4regions" / "nmes1988.csv.gz"


def federated(family, design, nodes, *, rounds=40, offset=None) -> tuple[Fit, Model]:
    """Fit over nodes given as (columns, outcome): the loop that a study runs, without the encryption."""
    model = Model(design=design, family=family, low=0.01, high=1e6)
    fit = begin(model)
    while not fit.is_over and fit.rounds < rounds:
        total = np.zeros(model.size)
        for i, (columns, outcome) in enumerate(nodes):
            outcome = np.asarray(outcome, dtype=float)
            good = design.usable(columns) & family.admits(outcome)
            rows = ModelRows(
                matrix=design.matrix(columns)[good],
                outcome=outcome[good],
                places=np.zeros(good.sum(), dtype=np.int64),
                offset=np.zeros(good.sum()) if offset is None else offset[i][good],
                starts=np.arange(good.sum() + 1),
            )
            total += model.sums(fit.state.trial, rows)
        fit = fit_of(fit_arrays(advance(fit, total, model=model)))
    return fit, model


def finish(fitted: tuple[Fit, Model], design: Design) -> RegressionTable:
    return finish_model(*fitted, minimum=5)


def split(frame: pd.DataFrame, by: str, outcome: str):
    return [
        ({name: part[name].to_numpy() for name in part.columns}, part[outcome].to_numpy())
        for _, part in frame.groupby(by, observed=True)
    ]


def claims(seed=5, rows=3000) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "age": rng.uniform(18, 90, rows),
            "level": rng.choice(["1", "2", "3"], rows, p=[0.3, 0.4, 0.3]),
            "site": rng.choice(list("abcd"), rows, p=[0.1, 0.2, 0.3, 0.4]),
        }
    )
    eta = -0.8 + 0.02 * frame.age + 0.4 * (frame.level == "3")
    frame["visits"] = rng.negative_binomial(1.5, 1.5 / (1.5 + np.exp(eta)))
    frame["stay"] = (rng.random(rows) < 1 / (1 + np.exp(-(eta - 1)))).astype(float)
    frame["cost"] = rng.gamma(2.0, np.exp(eta + 6) / 2)
    return frame


DESIGN = Design(terms=(Term(name="age", low=0, high=100), Term(name="level", levels=("1", "2", "3"))))


def pooled(frame: pd.DataFrame) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "intercept": 1.0,
            "age": frame.age,
            "level[2]": (frame.level == "2") * 1.0,
            "level[3]": (frame.level == "3") * 1.0,
        }
    )


def agrees(table: RegressionTable, estimates, errors, tolerance=1e-6):
    ours = np.array([[c.estimate, c.std_error] for c in table.coefficients])
    np.testing.assert_allclose(ours[:, 0], np.asarray(estimates), rtol=tolerance)
    np.testing.assert_allclose(ours[:, 1], np.asarray(errors), rtol=tolerance)


@pytest.mark.parametrize(
    ("family", "outcome", "reference"),
    [
        (Family.LOGISTIC, "stay", sm.families.Binomial()),
        (Family.POISSON, "visits", sm.families.Poisson()),
        (Family.GAMMA, "cost", sm.families.Gamma(sm.families.links.Log())),
    ],
)
def test_a_federated_fit_equals_the_pooled_one(family, outcome, reference):
    frame = claims()
    fit = federated(family, DESIGN, split(frame, "site", outcome))
    expected = sm.GLM(frame[outcome], pooled(frame), family=reference).fit(tol=1e-12, maxiter=100)
    table = finish(fit, DESIGN)
    agrees(table, expected.params, expected.bse)
    assert table.deviance == pytest.approx(expected.deviance, rel=1e-9)
    assert table.rows == len(frame)
    assert [c.term for c in table.coefficients] == ["intercept", "age", "level[2]", "level[3]"]
    np.testing.assert_allclose([c.p_value for c in table.coefficients], expected.pvalues, rtol=1e-4)
    np.testing.assert_allclose(
        [[c.conf_low, c.conf_high] for c in table.coefficients], expected.conf_int(), rtol=1e-5
    )


def test_a_negative_binomial_fit_equals_the_pooled_one():
    frame = claims()
    fit = federated(Family.NEGATIVE_BINOMIAL, DESIGN, split(frame, "site", "visits"))
    expected = sm.NegativeBinomial(frame["visits"], pooled(frame)).fit(
        disp=0, method="newton", maxiter=200, tol=1e-12
    )
    table = finish(fit, DESIGN)
    agrees(table, expected.params, expected.bse)
    assert table.log_likelihood == pytest.approx(expected.llf, abs=1e-6)


def test_an_offset_is_the_log_of_an_exposure():
    frame = claims()
    exposure = np.random.default_rng(0).uniform(0.2, 3, len(frame))
    frame["seen"] = np.random.default_rng(1).poisson(exposure * np.exp(0.01 * frame.age))
    frame["shift"] = np.log(exposure)
    parts = [part["shift"].to_numpy() for _, part in frame.groupby("site")]
    fit = federated(Family.POISSON, DESIGN, split(frame, "site", "seen"), offset=parts)
    expected = sm.GLM(frame["seen"], pooled(frame), family=sm.families.Poisson(), offset=frame["shift"]).fit(
        tol=1e-12
    )
    agrees(finish(fit, DESIGN), expected.params, expected.bse)


def test_the_published_likelihoods_of_the_medical_expenditure_survey_are_met():
    if not NMES.exists():
        pytest.skip("needs nmes1988.csv.gz in ../shared/data/nmes_meps_4regions beside the checkout")
    frame = pd.read_csv(NMES)
    design = Design(
        terms=(
            Term(name="hospital", low=0, high=8),
            Term(name="health", levels=("average", "excellent", "poor")),
            Term(name="chronic", low=0, high=8),
            Term(name="gender", levels=("female", "male")),
            Term(name="school", low=0, high=18),
            Term(name="insurance", levels=("no", "yes")),
        )
    )
    nodes = split(frame, "site", "visits")
    assert len(nodes) == 4
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
    poisson = finish(federated(Family.POISSON, design, nodes), design)
    assert poisson.log_likelihood == pytest.approx(-17971.6, abs=0.1)
    expected = sm.Poisson(frame.visits, x).fit(disp=0, method="newton", tol=1e-12)
    agrees(poisson, expected.params, expected.bse)
    binomial = finish(federated(Family.NEGATIVE_BINOMIAL, design, nodes), design)
    assert binomial.log_likelihood == pytest.approx(-12170.6, abs=0.1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its line search warns on the way
        wanted = sm.NegativeBinomial(frame.visits, x).fit(disp=0, method="newton", maxiter=300, tol=1e-12)
    agrees(binomial, wanted.params, wanted.bse)


def test_a_node_without_rows_changes_nothing():
    frame = claims()
    nodes = split(frame, "site", "visits")
    empty = ({k: v[:0] for k, v in nodes[0][0].items()}, nodes[0][1][:0])
    with_empty = finish(federated(Family.POISSON, DESIGN, [*nodes, empty]), DESIGN)
    assert with_empty == finish(federated(Family.POISSON, DESIGN, nodes), DESIGN)


def test_collinear_terms_are_named():
    frame = claims()
    frame["months"] = frame.age * 12
    design = Design(terms=(Term(name="age", low=0, high=100), Term(name="months", low=0, high=1200)))
    with pytest.raises(DataContractError, match=r"term (age|months) repeats"):
        finish(federated(Family.POISSON, design, split(frame, "site", "visits")), design)


def test_a_level_that_nobody_has_is_named():
    frame = claims()
    design = Design(terms=(Term(name="level", levels=("1", "2", "3", "9")),))
    with pytest.raises(DataContractError, match=r"term level\[9\] repeats other terms or never varies"):
        finish(federated(Family.LOGISTIC, design, split(frame, "site", "stay")), design)


@pytest.mark.parametrize("family", [Family.LOGISTIC, Family.POISSON])
def test_a_separated_outcome_is_named(family):
    frame = claims()
    frame["stay"] = np.where(frame.level == "3", 0.0, frame.stay)
    with pytest.raises(DataContractError, match=r"term level\[3\] separates"):
        finish(federated(family, DESIGN, split(frame, "site", "stay")), DESIGN)


def test_complete_separation_by_a_number_is_named():
    frame = claims()
    frame["stay"] = (frame.age > 50) * 1.0
    with pytest.raises(DataContractError, match="separates"):
        finish(federated(Family.LOGISTIC, DESIGN, split(frame, "site", "stay")), DESIGN)


def test_no_usable_row_is_said():
    frame = claims(rows=40)
    frame["age"] = np.nan
    with pytest.raises(DataContractError, match=r"no usable row.*neither 0 nor 1.*fall out"):
        finish(federated(Family.LOGISTIC, DESIGN, split(frame, "site", "stay")), DESIGN)


@pytest.mark.parametrize("family", [Family.LOGISTIC, Family.POISSON])
def test_an_outcome_that_nobody_has_is_said(family):
    frame = claims(rows=400)
    frame["stay"] = 0.0
    with pytest.raises(DataContractError, match="outcome is the same in all usable rows, or never above 0"):
        finish(federated(family, DESIGN, split(frame, "site", "stay")), DESIGN)


def test_a_number_always_at_its_bound_is_no_fault_of_the_constant():
    frame = claims(rows=400)
    frame["age"] += 1e6
    with pytest.raises(DataContractError, match="always at one of its bounds"):
        finish(federated(Family.POISSON, DESIGN, split(frame, "site", "visits")), DESIGN)


def test_badly_scaled_columns_do_no_harm():
    frame = claims()
    frame["age"] *= 1e9
    design = Design(terms=(Term(name="age", low=0, high=1e11), Term(name="level", levels=("1", "2", "3"))))
    scaled = finish(federated(Family.POISSON, design, split(frame, "site", "visits")), design)
    plain = finish(federated(Family.POISSON, DESIGN, split(claims(), "site", "visits")), DESIGN)
    assert scaled.coefficients[1].estimate * 1e9 == pytest.approx(plain.coefficients[1].estimate, rel=1e-9)
    assert scaled.coefficients[1].p_value == pytest.approx(plain.coefficients[1].p_value, rel=1e-6)


def test_too_few_rounds_are_said():
    nodes = split(claims(), "site", "visits")
    with pytest.raises(DataContractError, match="did not converge in 2 rounds"):
        finish(federated(Family.POISSON, DESIGN, nodes, rounds=2), DESIGN)


def test_packing_and_unpacking_are_inverse():
    frame = claims(rows=50)
    columns = {name: frame[name].to_numpy() for name in frame.columns}
    found = evaluate(
        Family.POISSON,
        np.array([0.1, 0.2, 0.3, 0.4]),
        design=DESIGN.matrix(columns),
        outcome=frame.visits.to_numpy(dtype=float),
        offset=np.zeros(len(frame)),
    )
    again = unpack(pack(found), 4)
    np.testing.assert_array_equal(np.triu(again.information), np.triu(found.information))
    np.testing.assert_array_equal(again.information, again.information.T)
    np.testing.assert_array_equal(again.score, found.score)
    assert again.log_likelihood == found.log_likelihood
