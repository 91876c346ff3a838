"""Federated Cox models against lifelines on a data set that it ships, with ties."""

import warnings

import numpy as np
import pytest

from fedmed.analytics import cox, newton
from fedmed.analytics.design import Design, Term
from fedmed.analytics.newton import Ending
from fedmed.errors import ConfigError

TERMS = {
    "fin": (0, 1),
    "age": (10, 50),
    "race": (0, 1),
    "wexp": (0, 1),
    "mar": (0, 1),
    "paro": (0, 1),
    "prio": (0, 20),
}
DESIGN = Design(terms=tuple(Term(name=n, low=a, high=b) for n, (a, b) in TERMS.items()), intercept=False)


def rossi():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lifelines is not yet quiet under this pandas
        from lifelines import CoxPHFitter
        from lifelines.datasets import load_rossi

        frame = load_rossi()
        fitted = CoxPHFitter().fit(frame, "week", "arrest", fit_options={"precision": 1e-12})
    return frame, fitted


def fit(parts, *, times, rounds=30):
    state = newton.begin(np.zeros(len(DESIGN.labels)))
    for _ in range(rounds):
        total = sum(
            cox.node_sums(
                state.trial,
                design=DESIGN.matrix({n: part[n].to_numpy() for n in TERMS}),
                time=part.week.to_numpy() - 1,
                event=part.arrest.to_numpy(dtype=float),
                times=times,
            )
            for part in parts
        )
        state = newton.advance(state, cox.objective(total, state.trial, times=times))
        if state.ending is not Ending.RUNNING:
            break
    return state


def test_a_federated_cox_model_with_ties_equals_lifelines_on_pooled_rows():
    frame, fitted = rossi()
    assert frame.week[frame.arrest == 1].duplicated().any()
    parts = [frame.iloc[i::4] for i in range(4)]
    state = fit(parts, times=52)
    assert state.ending is Ending.CONVERGED
    turn = DESIGN.to_units()
    np.testing.assert_allclose(turn @ state.trial, fitted.params_.loc[list(TERMS)], rtol=1e-6)
    errors = np.sqrt(np.diag(turn @ state.covariance @ turn.T))
    np.testing.assert_allclose(errors, fitted.standard_errors_.loc[list(TERMS)], rtol=1e-6)
    assert state.value == pytest.approx(fitted.log_likelihood_, abs=1e-6)


def test_a_node_without_persons_changes_nothing():
    frame, _ = rossi()
    whole, with_empty = fit([frame], times=52), fit([frame, frame.iloc[:0]], times=52)
    np.testing.assert_array_equal(whole.trial, with_empty.trial)


def test_a_column_that_never_varies_has_no_estimate():
    frame, _ = rossi()
    frame["fin"] = 0
    assert fit([frame], times=52).ending in (Ending.COLLINEAR, Ending.SEPARATED)


def test_a_time_outside_the_public_grid_is_refused():
    with pytest.raises(ConfigError, match=r"times must lie in 0\.\.3"):
        cox.node_sums(np.zeros(1), design=np.zeros((1, 1)), time=np.array([4]), event=np.ones(1), times=4)


def test_a_vector_of_another_size_is_refused():
    with pytest.raises(ConfigError, match="does not belong"):
        cox.objective(np.zeros(5), np.zeros(2), times=4)
