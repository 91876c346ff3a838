"""The gate on a release: each fault alone stops it, two hundred honest studies pass."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from fedmed.errors import AuditFailed
from fedmed.programs.audited import AuditFindings, audit_findings, require_conformance
from tests.audited_rounds import (
    CANARIES,
    CLAIM,
    MODEL_VALUES,
    NODES,
    ROUNDS,
    WRONG_CLIPPING,
    WRONG_NOISE,
    audited_rounds,
    coins_of,
)


def findings(seed: int = 1, **parts: object) -> AuditFindings:
    coins = coins_of(seed)
    opened = audited_rounds(coins, seed=seed, **parts)  # type: ignore[arg-type]  # names of its own parts
    return audit_findings(opened, coins, nodes=NODES, claim=CLAIM)


def test_an_honest_study_passes_and_says_what_it_found() -> None:
    found = require_conformance(findings())
    assert not found.failed
    assert found.nodes == (1, 2, 3, 4)
    assert found.missing == ()
    assert found.rounds == ROUNDS
    assert found.scores.shape == found.present.shape == (CANARIES,)
    assert 0 <= found.proven < found.expected < CLAIM.epsilon
    assert found.estimated == pytest.approx(found.expected, rel=0.4)


@pytest.mark.slow
def test_two_hundred_honest_studies_raise_no_alarm() -> None:
    """All checks together err with a chance of at most 5e-6 a study."""
    assert not [seed for seed in range(200) if findings(seed).failed]


@pytest.mark.parametrize(("fault", "check"), WRONG_NOISE.values(), ids=WRONG_NOISE)
def test_wrong_noise_stops_the_release(fault: object, check: str) -> None:
    found = findings(noise=fault)
    assert check in {one.name for one in found.failed}
    with pytest.raises(AuditFailed, match=check):
        require_conformance(found)


@pytest.mark.parametrize(("fault", "check"), WRONG_CLIPPING.values(), ids=WRONG_CLIPPING)
def test_wrong_clipping_stops_the_release(fault: object, check: str) -> None:
    found = findings(clip_sum=fault)
    assert {one.name for one in found.failed} == {check}
    with pytest.raises(AuditFailed, match=r"canary_size is .* must be"):
        require_conformance(found)


def test_a_release_without_noise_refutes_the_claim_and_one_with_noise_does_not() -> None:
    silent = findings(noise=WRONG_NOISE["no noise"][0])
    assert silent.estimated == np.inf
    assert silent.proven > 3


def test_a_lost_node_may_keep_its_coins_and_more_may_not() -> None:
    coins = coins_of(1)
    opened = audited_rounds(coins, seed=1)
    shown = {p: c for p, c in coins.items() if p != 2}
    found = audit_findings(opened, shown, nodes=NODES, claim=CLAIM)
    assert (found.nodes, found.missing) == ((1, 3, 4), (2,))
    require_conformance(found)
    with pytest.raises(AuditFailed, match="1 contributors showed no coins, at most 0"):
        require_conformance(replace(found, claim=replace(CLAIM, dropouts=0)))


def test_canaries_of_a_node_outside_a_sum_do_not_count() -> None:
    coins = coins_of(1)
    opened = audited_rounds({p: c for p, c in coins.items() if p != 4}, seed=1)
    found = audit_findings(opened, coins, nodes=NODES, claim=CLAIM)
    assert found.nodes == (1, 2, 3)
    assert not found.failed


def test_too_few_canaries_say_nothing() -> None:
    coins = coins_of(1)
    nobody = {p: replace(c, present=np.zeros_like(c.present)) for p, c in coins.items()}
    with pytest.raises(AuditFailed, match="0 canaries took part"):
        audit_findings(audited_rounds(nobody, seed=1), nobody, nodes=NODES, claim=CLAIM)


def test_the_block_stands_behind_the_answer() -> None:
    first = audited_rounds(coins_of(1), seed=1)[0]
    assert first.answer.shape == (MODEL_VALUES,)
    assert first.block.shape == (CANARIES,)
