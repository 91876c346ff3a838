"""What the coordinator would win if one check were missing: exact integers of one province.

The noise is switched off (`insecure_no_noise`), so what an attack opens can be compared with ``==``; with
noise it would open the victim's noisy sum, which the provinces never agreed to publish. Every test first
shows that the custodians refuse.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.crypto.lattice_public import residues_from_bytes, residues_to_bytes
from fedmed.crypto.parameters import PRIMES
from fedmed.errors import OpeningOutOfBounds
from fedmed.protocol.binding import payload_digest
from fedmed.protocol.steps import PhaseKind
from fedmed.types import IntArray, Scheme
from fedmed_nodes.sources import TableSource
from fedmed_nodes.stores import Batch
from tests.attacks import header_by_hand
from tests.federation import (
    DECLARED,
    NOW,
    Attempt,
    CopyableStore,
    Trial,
    insecure_no_noise,
    make_trial,
    no_check,
    small_table,
)

VICTIM = 2
ALL = (1, 2, 3, 4)
T = (1, 2, 3)
ROUND = "fedmed.protocol.node_round."
MLP: dict[str, Any] = {"model__kind": "mlp", "model__hidden": [2]}


def fields_of_victim(trial: Trial, **model: Any) -> IntArray:
    """The victim's contribution in the clear: what only its own custodian may know."""
    clear = make_trial(noise=insecure_no_noise, scheme=Scheme.PLAIN, **model)
    clear.inputs = trial.inputs
    parts = clear.contribute(VICTIM, clear.plan())
    return np.frombuffer(b"".join(parts[1:]), dtype="<u8").astype(np.int64)


def opened(
    trial: Trial, attempt: Attempt, contributors: Sequence[int], openers: Sequence[int] = T
) -> IntArray:
    """Ask the openers and decode; a contributor that is named twice is added twice."""
    answers = trial.open(attempt, contributors=contributors, openers=openers)
    added = [attempt.contributions[point] for point in contributors]
    return trial.combine(added, list(answers.values())).astype(np.int64)


def refusals(trial: Trial, attempt: Attempt, contributors: Sequence[int]) -> set[str]:
    """What all openers say to this set."""
    return {
        trial.federation.refused(
            point, PhaseKind.OPEN, *trial.request(attempt, point, contributors=contributors, openers=T)
        )
        for point in T
    }


@pytest.mark.slow
def test_a_set_of_one_opens_the_victims_contribution(monkeypatch: pytest.MonkeyPatch) -> None:
    trial = make_trial(noise=insecure_no_noise)
    begun = trial.begin()
    assert refusals(trial, begun, (VICTIM,)) == {"set_too_small"}
    monkeypatch.setattr(ROUND + "check_set_size", no_check)
    np.testing.assert_array_equal(opened(trial, begun, (VICTIM,)), fields_of_victim(trial))


@pytest.mark.slow
def test_a_set_that_names_the_victim_three_times_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 8: S = {v, v, v} has the size of an honest set."""
    trial = make_trial(noise=insecure_no_noise)
    begun, thrice = trial.begin(), (VICTIM,) * 3
    assert refusals(trial, begun, thrice) == {"set_malformed"}
    monkeypatch.setattr(ROUND + "check_sets", no_check)
    assert refusals(trial, begun, thrice) == {"set_malformed"}, "the ring refuses it as well"
    monkeypatch.setattr("fedmed.aggregation.threshold_node.check_sets", no_check)
    np.testing.assert_array_equal(opened(trial, begun, thrice), 3 * fields_of_victim(trial))


def test_the_next_set_without_the_victim_opens_it_by_subtraction(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two rounds at equal parameters; on_dropout is stop."""
    trial = make_trial(noise=insecure_no_noise)
    whole = opened(trial, trial.begin(1), ALL)
    without = (1, 3, 4)
    second = trial.begin(2)
    assert refusals(trial, second, without) == {"set_changed"}
    monkeypatch.setattr(ROUND + "check_same_set", no_check)
    np.testing.assert_array_equal(whole - opened(trial, second, without), fields_of_victim(trial))


def test_a_second_set_for_one_attempt_opens_the_victim_with_its_noise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same contributions summed twice: the noise does not help, the difference is what was sent."""
    trial = make_trial()
    begun = trial.begin()
    whole, without = opened(trial, begun, ALL), (1, 3, 4)
    assert refusals(trial, begun, without) == {"second_opening"}
    monkeypatch.setattr(ROUND + "check_single_opening", no_check)
    assert refusals(trial, begun, without) == {"set_changed"}, "the frozen set stops it as well"
    monkeypatch.setattr(ROUND + "check_same_set", no_check)
    alone = whole - opened(trial, begun, without)
    monkeypatch.setattr(ROUND + "check_set_size", no_check)
    np.testing.assert_array_equal(alone, opened(trial, begun, (VICTIM,)))


@pytest.mark.parametrize("factor", [1, 1 << 20], ids=["copied", "scaled"])
def test_a_province_that_sends_anothers_contribution_as_its_own_opens_nothing(factor: int) -> None:
    """Section 1: with one joint key the victim was read off; here every contribution has a key of its own."""
    trial = make_trial(noise=insecure_no_noise)
    begun = trial.begin()
    copied = tuple(scaled(chunk, factor, trial) for chunk in begun.contributions[VICTIM][1:])
    header = header_by_hand(trial, 4, begun.plan, chunk_digests=[payload_digest(c) for c in copied])
    attempt = replace(begun, contributions={**begun.contributions, 4: (header, *copied)})
    with pytest.raises(OpeningOutOfBounds):
        opened(trial, attempt, ALL)


def scaled(chunk: bytes, factor: int, trial: Trial) -> bytes:
    """A contribution times an integer, residue by residue."""
    used = trial.layout.coefficients
    residues = residues_from_bytes(chunk, used).astype(object) * factor
    reduced = [[int(x) % prime for x in row] for row, prime in zip(residues, PRIMES, strict=True)]
    return residues_to_bytes(np.array(reduced, dtype=np.uint64), used)


def test_unbound_parameters_leave_the_victim_alone_in_the_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Section 1: the others get parameters with dead units, whose gradients are zero."""
    trial = make_trial(noise=insecure_no_noise, **MLP)
    dead = struct.pack("<9d", 0, 0, 0, 0, -1e3, -1e3, 0, 0, 0)
    plan, others = trial.plan(), [p for p in ALL if p != VICTIM]
    for point in others:
        assert trial.federation.refused(point, PhaseKind.CONTRIBUTE, plan, dead) == "inputs_mismatch"
    monkeypatch.setattr("fedmed_nodes.custodian.check_inputs", no_check)
    sent = {p: trial.contribute(p, plan, dead if p in others else None) for p in ALL}
    total = opened(trial, Attempt(plan=plan, contributions=sent), ALL)
    alone, offset = fields_of_victim(trial, **MLP), trial.layout.offset
    # All coordinates but the last bias, which no dead unit hides.
    np.testing.assert_array_equal(total[:8] - 3 * offset, alone[:8])
    assert np.any(alone[:8] != offset), "the victim's gradient is not zero"


def rows(*, with_person: bool) -> TableSource:
    """The victim's rows, with or without one person whose gradient at zero is positive everywhere."""
    person = pa.table({"psn_no": ["person"], "age": [100.0], "visits": [10.0], "sick": [0]})
    tables = [small_table(VICTIM)] + ([person] if with_person else [])
    return TableSource(pa.concat_tables(tables), declared_persons=DECLARED, data_year=NOW.year)


def difference(first: Sequence[bytes], second: Sequence[bytes], used: int) -> tuple[bytes, ...]:
    """Chunks of first - second, residue by residue; no key is needed for that."""
    primes = np.array(PRIMES, dtype=np.uint64)[:, None]
    return tuple(
        residues_to_bytes(
            (residues_from_bytes(one, used) + primes - residues_from_bytes(other, used)) % primes, used
        )
        for one, other in zip(first, second, strict=True)
    )


def test_a_public_polynomial_that_returns_opens_a_difference_without_any_custodian(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Section 1: a custodian that was set back computes again under the nonce that it had used."""
    trial = make_trial(noise=insecure_no_noise)
    node = trial.federation.nodes[VICTIM]
    assert isinstance(node.effects.store, CopyableStore)
    node.with_source(rows(with_person=True))
    trial.ask_nonce(VICTIM)
    backup, plan = node.effects.store.whole(), trial.plan()
    first = trial.contribute(VICTIM, plan)
    set_back(trial, backup)
    node.with_source(rows(with_person=False))

    assert trial.federation.refused(VICTIM, PhaseKind.CONTRIBUTE, plan, trial.inputs) == "nonce_mismatch"
    monkeypatch.setattr(ROUND + "check_nonce", no_check)
    second = trial.contribute(VICTIM, plan)

    layout = trial.layout
    total = ThresholdCombiner(layout)
    total.add_contribution(difference(first[1:], second[1:], layout.coefficients))
    total.add_opening([bytes(len(chunk)) for chunk in first[1:]])  # zeros: nobody was asked
    row = np.full(3, 0.5)  # (0.5 - label) times inputs of 1, and the bias; its norm is below the clip
    found = total.total().astype(float) * layout.grid
    np.testing.assert_allclose(found, row, atol=2 * layout.grid)


def set_back(trial: Trial, backup: Batch) -> None:
    """An old store is copied back and the custodian started; nobody says so."""
    node, store = trial.federation.nodes[VICTIM], CopyableStore()
    store.commit(backup)
    node.effects = replace(node.effects, store=store)
    node.restart()
