"""From a study's evaluation stage to metrics with intervals, close to the exact ones of the simulation."""

import numpy as np
import pytest

from fedmed.analytics import noisy_metrics
from fedmed.evaluation import evaluation_part, noise_std
from fedmed.models.score_bins import score_centres
from fedmed.programs.training import SCORE_COUNTS
from fedmed.protocol.schedule import schedule_for
from fedmed.types import RoundKind
from tests.federation import small_study

BINS = 20


def spec_and_counts(persons=4000, seed=3):
    spec = small_study(data__held_out=0.3, report__evaluation_epsilon=0.3, report__bins=BINS)
    rng = np.random.default_rng(seed)
    place = rng.integers(4, 15, persons)
    label = rng.random(persons) < score_centres(BINS)[place]
    counts = np.stack([np.bincount(place[label == k], minlength=BINS) for k in (False, True)]).astype(float)
    return spec, counts


def test_the_noise_is_that_of_all_contributors_together():
    spec, _ = spec_and_counts()
    (stage,) = (s for s in schedule_for(spec).stages if s.kind is RoundKind.EVALUATION)
    # A count moves by one: sigma persons are sure to be there from the honest ones, the rest adds its share.
    honest = schedule_for(spec).allowance.honest_contributors
    assert noise_std(stage, contributors=honest) == pytest.approx(stage.noise_multiplier, rel=1e-3)


def test_the_metrics_are_read_off_the_counts_with_the_claimed_noise():
    spec, counts = spec_and_counts()
    part = evaluation_part(spec, schedule_for(spec), {SCORE_COUNTS: counts}, contributors=4)
    assert part is not None
    found = noisy_metrics.ScoreCounts(
        counts=counts, centres=score_centres(BINS), noise_variance=part.noise_std**2
    )
    assert part.auc.value == noisy_metrics.auc(found).value
    assert part.auc.low < part.auc.value < part.auc.high
    assert part.expected_over_observed.value == pytest.approx(1, abs=0.1)
    assert all(point.low <= point.rate <= point.high for point in part.calibration)


def test_counts_that_say_nothing_give_no_metrics():
    spec, counts = spec_and_counts()
    none = {SCORE_COUNTS: np.zeros_like(counts)}
    assert evaluation_part(spec, schedule_for(spec), none, contributors=4) is None


def test_a_study_without_an_evaluation_has_none():
    spec = small_study(data__held_out=0.3)
    assert evaluation_part(spec, schedule_for(spec), {}, contributors=4) is None
