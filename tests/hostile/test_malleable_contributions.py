"""Attacks that worked on the designs of PROTOCOL.md section 1, run against the real custodians.

Node 4 and the coordinator are the attacker; it sends any polynomial it likes under a valid header. With a
joint key it read a victim's contribution. Here custodians answer for a set of keys and never see a
contribution's bytes, so the most it can do is to change the sum by what it added, or to spoil it.

The parity attack is in ``test_parity_attack.py``; nonces that return in ``test_plan_refusals.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from fedmed import wire
from fedmed.aggregation.encoding import encode
from fedmed.crypto.lattice_public import residues_from_bytes, residues_to_bytes
from fedmed.crypto.lattice_secret import keystream
from fedmed.crypto.parameters import MODULUS, PRIMES, scale
from fedmed.crypto.residues import Residues, add
from fedmed.errors import OpeningOutOfBounds
from fedmed.messages import Header
from fedmed.models.gradients import clipped_gradient_sum
from fedmed.models.layout import PersonClip
from fedmed.plans.training import model_of
from fedmed.protocol import envelope
from fedmed.protocol.binding import payload_digest
from fedmed.protocol.steps import PhaseKind
from fedmed.types import FloatArray, WordArray
from tests.federation import (
    COORDINATOR,
    Attempt,
    Trial,
    identity_of,
    insecure_no_noise,
    make_trial,
    no_check,
    small_source,
)

VICTIM, ATTACKER = 1, 4
EVERYBODY, OPENERS = (1, 2, 3, 4), (1, 2, 3)
Integers = list[int]
Payload = tuple[bytes, ...]


def wide_trial() -> Trial:
    """A study with 65 values, so that a coincidence in all of them is out of the question."""
    return make_trial(4, noise=insecure_no_noise, model__kind="mlp", model__hidden=[16])


@pytest.fixture
def trial() -> Trial:
    return wide_trial()


def own_fields(trial: Trial, point: int, parameters: FloatArray) -> WordArray:
    """What a custodian encrypts when the noise is zero, computed directly from its rows."""
    spec, layout = trial.spec, trial.layout
    clipped = clipped_gradient_sum(
        parameters,
        small_source(point).training_examples(spec.dataset_spec),
        layout=model_of(trial.spec),
        clip=PersonClip(norm=spec.privacy.clip_norm, rows=spec.training.rows_of_a_person),
    )
    return encode(clipped, np.zeros(layout.values, np.int64), layout, clip_norm=spec.privacy.clip_norm)


def start(trial: Trial) -> FloatArray:
    """The parameters of the first round."""
    return np.frombuffer(trial.inputs, "<f8")


# --- Ring arithmetic of the attacker -----------------------------------------------------------------


def residues(trial: Trial, chunk: bytes) -> Residues:
    return residues_from_bytes(chunk, trial.layout.coefficients)


def integers(values: Residues) -> Integers:
    """Coefficients modulo q."""
    lifts = [MODULUS // p * pow(MODULUS // p, -1, p) for p in PRIMES]
    found: Integers = (np.array(lifts, object) @ values.astype(object) % MODULUS).tolist()
    return found


def polynomial(coefficients: Sequence[int]) -> Residues:
    return np.array([[c % p for c in coefficients] for p in PRIMES], np.uint64)


def chunk_of(trial: Trial, coefficients: Sequence[int]) -> Payload:
    return (residues_to_bytes(polynomial(coefficients), trial.layout.coefficients),)


def delta(trial: Trial) -> int:
    """D: what one unit of the payload weighs modulo q."""
    layout = trial.layout
    return scale(layout.fields, layout.field_bits)


def packed(trial: Trial, fields: WordArray) -> Integers:
    """Payload coefficients of fields: the first fields fill the lowest places of all coefficients."""
    layout = trial.layout
    count, bits = layout.coefficients, layout.field_bits
    return [
        sum(int(value) << (place * bits) for place, value in enumerate(fields[at::count]))
        for at in range(count)
    ]


def with_lowest_fields_moved(trial: Trial, fields: WordArray, steps: int) -> WordArray:
    """Fields after ``steps`` units of the payload were added to every coefficient."""
    moved = fields.copy()
    moved[: trial.layout.coefficients] += np.uint64(steps)
    return moved


def read_without_checks(trial: Trial, parts: Sequence[Sequence[bytes]]) -> Integers:
    """Payload of a sum, whatever it holds: all that an attacker gets from contributions and answers."""
    total = polynomial([0] * trial.layout.coefficients)
    for one in parts:
        total = add(total, residues(trial, one[1]))
    d, bits = delta(trial), trial.layout.fields * trial.layout.field_bits
    return [(value + d // 2) % MODULUS // d % (1 << bits) for value in integers(total)]


def submit(trial: Trial, attempt: Attempt, payload: Payload) -> Attempt:
    """The attempt with another payload of the attacker, under a header that it signs."""
    header = envelope.sign_message(
        identity_of(ATTACKER),
        envelope.HEADER,
        wire.encode_header(
            Header(chunk_digests=tuple(payload_digest(c) for c in payload), next_nonce=bytes(16))
        ),
        context=attempt.digest,
        receiver=identity_of(COORDINATOR).name,
    )
    return replace(attempt, contributions={**attempt.contributions, ATTACKER: (header, *payload)})


# --- A polynomial added to a valid contribution ------------------------------------------------------


def add_below_the_noise(trial: Trial, attempt: Attempt) -> Payload:
    """The addend 2^62 that read a joint secret off one opening."""
    mine = integers(residues(trial, attempt.contributions[ATTACKER][1]))
    return chunk_of(trial, [value + (1 << 62) for value in mine])


def add_to_the_payload(trial: Trial, attempt: Attempt) -> Payload:
    mine = integers(residues(trial, attempt.contributions[ATTACKER][1]))
    return chunk_of(trial, [value + 5 * delta(trial) for value in mine])


@pytest.mark.parametrize(("addend", "moved"), [(add_below_the_noise, 0), (add_to_the_payload, 5)])
def test_an_addend_opens_as_the_sum_with_that_addend_and_nothing_else(
    trial: Trial, addend: Callable[[Trial, Attempt], Payload], moved: int
) -> None:
    attempt = trial.begin()
    attempt = submit(trial, attempt, addend(trial, attempt))
    answers = trial.open(attempt, contributors=EVERYBODY, openers=OPENERS)
    total = trial.combine(list(attempt.contributions.values()), list(answers.values()))
    honest = np.sum([own_fields(trial, p, start(trial)) for p in EVERYBODY], axis=0).astype(np.uint64)
    assert np.array_equal(total, with_lowest_fields_moved(trial, honest, moved))


# --- Another's contribution, scaled or copied --------------------------------------------------------


def scaled_victim(trial: Trial, attempt: Attempt) -> Payload:
    theirs = integers(residues(trial, attempt.contributions[VICTIM][1]))
    return chunk_of(trial, [value << 20 for value in theirs])


def copied_victim(trial: Trial, attempt: Attempt) -> Payload:
    return attempt.contributions[VICTIM][1:]


@pytest.mark.parametrize(("attack", "weight"), [(scaled_victim, 1 << 20), (copied_victim, 1)])
def test_a_scaled_or_copied_contribution_opens_nothing(
    trial: Trial, attack: Callable[[Trial, Attempt], Payload], weight: int
) -> None:
    attempt = trial.begin()
    attempt = submit(trial, attempt, attack(trial, attempt))
    answers = trial.open(attempt, contributors=EVERYBODY, openers=OPENERS)
    parts = [*attempt.contributions.values(), *answers.values()]
    with pytest.raises(OpeningOutOfBounds):
        trial.combine(list(attempt.contributions.values()), list(answers.values()))
    fields = {p: packed(trial, own_fields(trial, p, start(trial))) for p in EVERYBODY}
    wanted = [
        weight * fields[VICTIM][at] + sum(fields[p][at] for p in (1, 2, 3))
        for at in range(trial.layout.coefficients)
    ]
    bits = trial.layout.fields * trial.layout.field_bits
    read = read_without_checks(trial, parts)
    assert all(got != want % (1 << bits) for got, want in zip(read, wanted, strict=True))
    # The victim's key is not cancelled by that of the attacker, so what is read is uniform.
    assert len(set(read)) == len(read)


def test_fewer_answers_than_the_threshold_open_nothing(trial: Trial) -> None:
    """What a rushing answerer sees before it answers: every contribution and the others' answers."""
    attempt = trial.begin()
    answers = trial.open(attempt, contributors=EVERYBODY, openers=OPENERS)
    parts = [*attempt.contributions.values(), *(answers[p] for p in OPENERS[:-1])]
    wanted = np.sum([packed(trial, own_fields(trial, p, start(trial))) for p in EVERYBODY], axis=0)
    read = read_without_checks(trial, parts)
    assert all(got != want for got, want in zip(read, wanted.tolist(), strict=True))


def test_a_rushing_answerer_only_moves_the_sum_by_what_it_chose(trial: Trial) -> None:
    attempt = trial.begin()
    answers = trial.open(attempt, contributors=EVERYBODY, openers=OPENERS)
    honest = trial.combine(list(attempt.contributions.values()), list(answers.values()))
    rushing = OPENERS[-1]
    mine = integers(residues(trial, answers[rushing][1]))
    shifted = chunk_of(trial, [value + 7 * delta(trial) for value in mine])
    moved = trial.combine(
        list(attempt.contributions.values()),
        [*(answers[p] for p in OPENERS[:-1]), (answers[rushing][0], *shifted)],
    )
    assert np.array_equal(moved, with_lowest_fields_moved(trial, honest, 7))


# --- Answers are functions of the plan and the sets --------------------------------------------------


def fixed_entropy(trial: Trial) -> None:
    """Every custodian's smudging and nonces come from a stream that a test can run again."""
    for point, node in trial.federation.nodes.items():
        node.effects = replace(node.effects, entropy=keystream(bytes([point]) * 32))
        node.restart()
        trial.ask_nonce(point)


def sum_of_answers(malicious: bool) -> tuple[list[bytes], Integers, Attempt]:
    """One opening with all entropy fixed: each answer, their sum, and the attempt."""
    trial = wide_trial()
    fixed_entropy(trial)
    attempt = trial.begin()
    if malicious:
        attempt = submit(trial, attempt, scaled_victim(trial, attempt))
        trial.nonces[ATTACKER] = bytes(16)
    # The attacker's own custodian would refuse a header that it did not send; it need not answer.
    answers = trial.open(attempt, contributors=EVERYBODY, openers=OPENERS)
    total = polynomial([0] * trial.layout.coefficients)
    for parts in answers.values():
        total = add(total, residues(trial, parts[1]))
    return [answers[p][1] for p in OPENERS], integers(total), attempt


@pytest.mark.slow
def test_answers_do_not_depend_on_what_was_contributed() -> None:
    """With equal entropy: equal headers give equal bytes, and other headers change the masks alone."""
    first, honest_total, honest = sum_of_answers(malicious=False)
    again, again_total, _ = sum_of_answers(malicious=False)
    attacked, attacked_total, hostile = sum_of_answers(malicious=True)
    assert honest.plan == hostile.plan
    assert (first, honest_total) == (again, again_total)
    assert all(one != other for one, other in zip(first, attacked, strict=True)), "headers are in the masks"
    assert honest_total == attacked_total, "the masks cancel, and nothing else of the headers is left"


def test_a_custodian_is_never_given_the_bytes_of_a_contribution(trial: Trial) -> None:
    attempt = trial.begin()
    request = b"".join(trial.request(attempt, VICTIM, contributors=EVERYBODY, openers=OPENERS))
    for parts in attempt.contributions.values():
        assert parts[1] not in request
    assert len(request) < 4096


# --- Parameters with dead units ----------------------------------------------------------------------


def dead_units(trial: Trial) -> bytes:
    """Parameters at which every hidden unit is off: all gradients but the last bias are zero."""
    arrays = model_of(trial.spec).split(start(trial))
    dead = {name: array.copy() for name, array in arrays.items()}
    dead["layer0.bias"] = np.full_like(dead["layer0.bias"], -1e6)
    return np.concatenate([dead[name].ravel() for name in model_of(trial.spec).names]).astype("<f8").tobytes()


def test_parameters_with_dead_units_for_all_but_the_victim_are_refused(trial: Trial) -> None:
    plan, dead = trial.plan(), dead_units(trial)
    trial.contribute(VICTIM, plan)
    for point in (2, 3, 4):
        assert trial.federation.refused(point, PhaseKind.CONTRIBUTE, plan, dead) == "inputs_mismatch"


def test_without_the_inputs_digest_dead_units_read_the_victim(
    trial: Trial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedmed_nodes.custodian.check_inputs", no_check)
    plan, dead = trial.plan(), dead_units(trial)
    contributions = {p: trial.contribute(p, plan, None if p == VICTIM else dead) for p in EVERYBODY}
    attempt = Attempt(plan=plan, contributions=contributions)
    answers = trial.open(attempt, contributors=EVERYBODY, openers=OPENERS)
    total = trial.combine(list(contributions.values()), list(answers.values()))
    read = total - np.uint64(3 * trial.layout.offset)
    wanted = own_fields(trial, VICTIM, start(trial))
    assert np.count_nonzero(read == wanted) >= trial.layout.values - 1


def test_the_attackers_arithmetic_reads_an_honest_sum(trial: Trial) -> None:
    """What the attacks above read is not garbage for want of arithmetic."""
    attempt = trial.begin()
    answers = trial.open(attempt, contributors=EVERYBODY, openers=OPENERS)
    read = read_without_checks(trial, [*attempt.contributions.values(), *answers.values()])
    fields = np.sum([own_fields(trial, p, start(trial)) for p in EVERYBODY], axis=0).astype(np.uint64)
    assert read == packed(trial, fields)
