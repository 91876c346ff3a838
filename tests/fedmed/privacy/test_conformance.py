"""The hard gate on a release: every injected fault fails its check, honest blocks pass."""

import numpy as np
import pytest

from fedmed.errors import ConfigError
from fedmed.privacy.conformance import AuditBlock, conformance

ROUNDS, CANARIES, NOISE = 40, 200, 12.0


def block(seed=0, *, noise=NOISE, size=1.0, same=0.0, quiet_round=None):
    rng = np.random.default_rng(seed)
    present = rng.permutation(np.arange(CANARIES) % 2 == 0)
    fresh, stale = rng.normal(0, 1, (ROUNDS, CANARIES)), rng.normal(0, 1, CANARIES)
    drawn = noise * (np.sqrt(1 - same) * fresh + np.sqrt(same) * stale)
    if quiet_round is not None:
        drawn[quiet_round] = 0
    return AuditBlock(releases=drawn + size * present, present=present, noise=np.full(ROUNDS, NOISE))


def failed(found):
    return {check.name for check in conformance(found) if not check.holds}


@pytest.mark.slow
def test_two_hundred_honest_runs_raise_no_alarm():
    assert not any(failed(block(seed)) for seed in range(200))


def test_an_honest_run_passes_every_check():
    assert len(conformance(block())) == 5
    assert not failed(block())


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ({"noise": 0.0}, "noise_scale"),
        ({"noise": NOISE / 2}, "noise_scale"),
        ({"noise": NOISE * np.sqrt(3 / 4)}, "noise_scale"),
        ({"noise": NOISE * 1.5}, "noise_scale"),
        ({"same": 1.0}, "freshness"),
        ({"same": 0.25}, "freshness"),
        ({"same": 1.0}, "freshness_overall"),
        ({"quiet_round": 7}, "noise_scale_of_rounds"),
        ({"size": 20.0}, "canary_size"),
        ({"size": 3.0}, "canary_size"),
        ({"size": 0.0}, "canary_size"),
    ],
)
def test_a_fault_fails_its_check(fault, check):
    assert check in failed(block(3, **fault))


def test_one_round_has_no_freshness():
    whole = block()
    one = AuditBlock(releases=whole.releases[:1], present=whole.present, noise=whole.noise[:1])
    assert {check.name for check in conformance(one)} == {
        "noise_scale",
        "noise_scale_of_rounds",
        "canary_size",
    }


def test_a_block_without_both_kinds_of_canaries_is_refused():
    with pytest.raises(ConfigError, match="at least 8 canaries present and 8 absent"):
        AuditBlock(releases=np.zeros((2, 20)), present=np.ones(20, dtype=bool), noise=np.ones(2))
