"""What noise will leave of a fit: against rows that are as assumed, and what makes it better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed.analytics.bounded_scores import BoundedModel
from fedmed.analytics.design import Design, Term
from fedmed.analytics.families import Family
from fedmed.analytics.model import ModelRows
from fedmed.analytics.noise_forecast import (
    Prospect,
    curve_noise,
    forecast,
    leaving_out,
    middle_information,
)
from fedmed.errors import ConfigError
from fedmed.types import FloatArray

DESIGN = Design(
    terms=(
        Term(name="age", low=0, high=100),
        Term(name="ill", low=0, high=1),
        Term(name="level", levels=("1", "2", "3")),
    )
)
LOGISTIC = BoundedModel(design=DESIGN, family=Family.LOGISTIC)
COUNTS = BoundedModel(design=DESIGN, family=Family.POISSON, high=20, mean_low=0.5, mean_high=8)
COX = BoundedModel(design=replace(DESIGN, intercept=False), family=None, times=6)


def assumed_rows(design: Design, count: int = 20_000) -> ModelRows:
    """Rows that are as `middle_information` assumes them."""
    rng = np.random.default_rng(3)
    columns = {
        "age": rng.uniform(25, 75, count),
        "ill": (rng.random(count) < 0.25).astype(float),
        "level": rng.choice(["1", "2", "3"], count).tolist(),
    }
    # Of Cox's model: an event for half, evenly over six times, nobody leaving otherwise.
    places = rng.integers(0, 12, count)
    return ModelRows(
        matrix=design.matrix(columns),
        outcome=(places < 6).astype(float),
        places=np.minimum(places, 5),
        offset=np.zeros(count),
        starts=np.arange(count + 1),
    )


@pytest.mark.parametrize("model", [LOGISTIC, COUNTS, COX])
def test_the_assumed_information_is_that_of_rows_as_assumed(model: BoundedModel) -> None:
    rows = assumed_rows(model.design)
    point: FloatArray = np.zeros(model.parameters)
    if model.family is None:  # one hazard a time; a segment's times share theirs
        due = np.array([1 / 12, 1 / 11, 1 / 10, 1 / 9, 1 / 8, 1 / 7])
        hazard = np.array([due[np.arange(6) * 4 // 6 == k].mean() for k in range(4)])
        point[:4] = np.log(hazard / (1 - hazard))
    else:
        point[0] = np.log(1 / 3) if model.family is Family.LOGISTIC else np.log(2.0)
    values: FloatArray = model.node_sum(point, rows).values / 20_000
    found = model.read(values).information
    np.testing.assert_allclose(middle_information(model), found, atol=0.03 * found.max(), rtol=0.05)


def test_strength_is_proportional_to_persons_and_to_less_noise() -> None:
    base = forecast(LOGISTIC, persons=8000, noise=20.0, rounds=12)
    for persons, noise in ((16_000, 20.0), (8000, 10.0)):
        other = forecast(LOGISTIC, persons=persons, noise=noise, rounds=12)
        assert other.strength == pytest.approx(2 * base.strength)
        assert other.errors == pytest.approx(base.errors / 2)


def test_a_fit_is_hidden_doubtful_or_visible() -> None:
    found = [
        forecast(LOGISTIC, persons=8000, noise=noise, rounds=12).prospect for noise in (20.0, 40.0, 80.0)
    ]
    assert found == [Prospect.VISIBLE, Prospect.DOUBTFUL, Prospect.HIDDEN]
    assert forecast(LOGISTIC, persons=8000, noise=80.0, rounds=12).weakest == "age"


def test_fewer_terms_are_seen_better() -> None:
    settings = {"persons": 8000, "rounds": 12}
    whole = forecast(LOGISTIC, noise=20.0, **settings)
    found = leaving_out(LOGISTIC, noise=20.0, **settings)
    assert found is not None
    assert found[0] == "level"
    assert found[1].strength > whole.strength
    single = replace(LOGISTIC, design=replace(DESIGN, terms=DESIGN.terms[:1]))
    assert leaving_out(single, noise=20.0, **settings) is None


def test_noise_moves_a_curve_less_among_more_persons() -> None:
    few, many = (curve_noise(persons=n, times=12, noise=8.0, level=0.95) for n in (1000, 8000))
    assert many == pytest.approx(few / 8, rel=0.01)


def test_nobody_and_no_noise_have_no_forecast() -> None:
    for settings in ({"persons": 0, "noise": 1.0}, {"persons": 5, "noise": 0.0}):
        with pytest.raises(ConfigError, match="must be"):
            forecast(LOGISTIC, rounds=12, **settings)  # type: ignore[arg-type]
        with pytest.raises(ConfigError, match="must be"):
            curve_noise(times=3, level=0.95, **settings)  # type: ignore[arg-type]
