"""Metrics from histograms against sklearn on the same binned scores; coverage under noise."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score

from fedmed.analytics.noisy_metrics import (
    ScoreCounts,
    auc,
    average_precision,
    calibration,
    expected_over_observed,
)
from fedmed.errors import ConfigError, DataContractError

BINS = 20
CENTRES = (np.arange(BINS) + 0.5) / BINS


def people(rng, count):
    score = rng.beta(1.2, 4, count)
    return score, (rng.random(count) < score).astype(int)


def counts_of(score, label):
    place = np.minimum((score * BINS).astype(int), BINS - 1)
    return np.stack([np.bincount(place[label == k], minlength=BINS) for k in (0, 1)]).astype(float), place


def test_exact_counts_give_what_sklearn_gives_for_the_binned_scores():
    score, label = people(np.random.default_rng(1), 4000)
    counts, place = counts_of(score, label)
    found = ScoreCounts(counts=counts, centres=CENTRES)
    assert auc(found).value == pytest.approx(roc_auc_score(label, place), abs=1e-12)
    assert average_precision(found).value == pytest.approx(average_precision_score(label, place), abs=1e-12)
    assert expected_over_observed(found).value == pytest.approx(CENTRES[place].sum() / label.sum())
    assert auc(found).noise_share == 0


@pytest.mark.slow
@pytest.mark.parametrize("metric", [auc, average_precision])
def test_intervals_cover_the_truth_with_and_without_noise(metric):
    # Binomial with 300 runs at 95 %: outside 90..99 % has a chance below 1e-3; the seed is fixed.
    rng = np.random.default_rng(7)
    score, label = people(rng, 2_000_000)
    truth = metric(ScoreCounts(counts=counts_of(score, label)[0], centres=CENTRES)).value
    for noise in (0.0, 6.0):
        inside = 0
        for _ in range(300):
            counts, _ = counts_of(*people(rng, 3000))
            counts += rng.normal(0, noise, counts.shape) if noise else 0
            found = metric(ScoreCounts(counts=counts, centres=CENTRES, noise_variance=noise**2))
            inside += found.low <= truth <= found.high
        assert 0.90 <= inside / 300 <= 0.99


def test_noise_takes_its_share_of_the_interval():
    counts, _ = counts_of(*people(np.random.default_rng(2), 3000))
    exact = auc(ScoreCounts(counts=counts, centres=CENTRES))
    noisy = auc(ScoreCounts(counts=counts, centres=CENTRES, noise_variance=400.0))
    assert noisy.high - noisy.low > exact.high - exact.low
    assert 0.3 < noisy.noise_share < 1


def test_thin_bins_are_left_out_of_the_calibration():
    counts, _ = counts_of(*people(np.random.default_rng(3), 3000))
    points = calibration(ScoreCounts(counts=counts, centres=CENTRES, noise_variance=4.0), least_persons=50)
    assert 0 < len(points) < BINS
    assert all(p.low <= p.rate <= p.high for p in points)
    assert all(abs(p.rate - p.centre) < 0.2 for p in points)


def test_a_label_without_persons_is_refused():
    with pytest.raises(DataContractError, match="fewer than one person of a label"):
        auc(ScoreCounts(counts=np.array([[5.0, 5.0], [-1.0, 0.0]]), centres=np.array([0.2, 0.8])))


def test_counts_of_another_shape_are_refused():
    with pytest.raises(ConfigError, match="counts must have shape"):
        ScoreCounts(counts=np.zeros((2, 3)), centres=np.array([0.2, 0.8]))
