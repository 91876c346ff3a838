"""What mode `statistics` of a training study sums, and what it costs."""

from __future__ import annotations

import math

import pytest

from fedmed.analytics.moments import moment_values
from fedmed.privacy.accounting import epsilon
from fedmed.protocol.schedule import schedule_for
from tests.federation import EPSILON, small_study


def test_two_moments_are_summed_once_within_their_joint_bound() -> None:
    spec = small_study(privacy__mode="statistics", training__aggregations=1, privacy__clip_norm=2.0)
    schedule = schedule_for(spec)
    (stage,) = schedule.stages
    assert (stage.rounds, stage.input_values, stage.layout.values) == (1, 0, moment_values(2))
    assert stage.clip_norm == pytest.approx(math.sqrt(2.0**4 + 2.0**2))
    assert 0.99 * EPSILON < epsilon(schedule.planned_events, schedule.accounted_delta) <= EPSILON
