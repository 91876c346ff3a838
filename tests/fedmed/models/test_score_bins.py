"""Public bins keep the order of scores and lose little of the AUC, for rare outcomes as well."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from fedmed.errors import ConfigError
from fedmed.models.score_bins import bin_of, score_centres, score_edges


@given(st.integers(2, 200))
def test_every_centre_lies_in_its_bin_and_all_rise(bins):
    centres, edges = score_centres(bins), score_edges(bins)
    assert centres.shape == (bins,)
    assert edges.shape == (bins - 1,)
    assert np.all(np.diff(centres) > 0)
    assert bin_of(centres, bins).tolist() == list(range(bins))


def test_scores_outside_the_edges_have_a_bin():
    assert bin_of(np.array([0.0, 1.0]), 20).tolist() == [0, 19]


@pytest.mark.parametrize(("bins", "loss"), [(20, 0.007), (40, 0.002)])
@pytest.mark.parametrize("shift", [-5.0, -2.5, 0.0])
def test_binning_costs_little_auc_for_rare_outcomes_too(shift, bins, loss):
    rng = np.random.default_rng(5)
    risk = 1 / (1 + np.exp(-(shift + rng.normal(0, 1.2, 60_000))))
    label = rng.random(60_000) < risk
    exact = roc_auc_score(label, risk)
    assert exact - loss < roc_auc_score(label, bin_of(risk, bins)) < exact + 0.001


def test_a_single_bin_is_refused():
    with pytest.raises(ConfigError, match="bins must be >= 2"):
        score_edges(1)
