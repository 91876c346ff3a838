"""Training as a program, and an evaluation after it, through real custodians."""

from __future__ import annotations

import numpy as np
import pytest

from fedmed.plans.training import model_of
from fedmed.programs.training import PARAMETERS, SCORE_COUNTS
from fedmed.types import Scheme
from fedmed_server.study_flow import run_study
from tests.federation import (
    AGGREGATIONS,
    COORDINATOR,
    NOW,
    OPEN_POLICY,
    PERSONS,
    identity_of,
    insecure_no_noise,
    make_federation,
    small_study,
)
from tests.small_province import small_source


@pytest.mark.slow
def test_an_evaluation_after_training_counts_every_held_out_person_once() -> None:
    spec = small_study(
        scheme=Scheme.PLAIN, data__held_out=0.5, report__evaluation_epsilon=0.3, report__bins=4
    )
    federation = make_federation(4, scheme=Scheme.PLAIN, noise=insecure_no_noise, policy=OPEN_POLICY)
    steps = run_study(
        spec, identity_of(COORDINATOR), federation.roster, today=NOW.date(), on_round=lambda summary: None
    )
    outcome = federation.drive(steps)
    trained = sum(small_source(p).training_examples(spec.dataset_spec).persons for p in (1, 2, 3, 4))
    counts = outcome.state[SCORE_COUNTS]
    assert counts.shape == (2, 4)
    assert 0 < counts.sum() == 4 * PERSONS - trained
    assert outcome.state[PARAMETERS].shape == (model_of(spec).size,)
    assert [PARAMETERS in r.trace for r in outcome.rounds] == [True] * AGGREGATIONS + [False]
    charges = federation.nodes[1].effects.store.ledger()
    noises = [record.noise_multiplier for record in charges]
    assert noises == [outcome.schedule.stages[0].noise_multiplier] * AGGREGATIONS + [
        outcome.schedule.stages[1].noise_multiplier
    ]
    assert np.array_equal(counts, np.rint(counts)), "without noise the counts are whole persons"
