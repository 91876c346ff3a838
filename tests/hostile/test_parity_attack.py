"""The attack that pairwise zero masks prevent (PROTOCOL.md section 1, third row).

Setting: S is every node, T leaves out at least one colluder c, who therefore knows its own share of the sum
of secrets, a fixed combination of the openers' shares. In the answers h_j = a lambda_j K_j + f_j this makes
sum over j of g_j f_j a known integer with small public weights g_j = M j / (j - c). The opened sum gives
E = sum of errors + sum of f_j. Where a combination of the g is 1 for every opener modulo r, the summed error
modulo r follows; modulo enough r the error itself, and from the error the sum of secrets.

The attacker here is the coordinator with the colluders: it uses public bytes and the colluders' keys only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest

from fedmed.aggregation import threshold_node
from fedmed.aggregation.contract import Opening
from fedmed.aggregation.threshold_node import EpochKeys, ThresholdContributor, insecure_epoch_keys
from fedmed.crypto.lattice_public import public_polynomial, residues_from_bytes
from fedmed.crypto.lattice_secret import keystream, opening_tag, pair_mask, ring
from fedmed.crypto.parameters import MODULUS, PRIMES, parameter_set_for, scale
from fedmed.crypto.residues import Residues, add, multiplied
from fedmed.crypto.sharing import lagrange
from fedmed.types import Layout, WordArray

PLAN, HEADERS = b"p" * 32, b"h" * 32
COEFFICIENTS = 48
FIELD_BITS = 40
MODULI = (2, 3, 5, 7, 29, 31)
LIFTS = [MODULUS // p * pow(MODULUS // p, -1, p) for p in PRIMES]
Integers = list[int]


@dataclass(frozen=True, kw_only=True, eq=False)
class World:
    """One epoch in which all nodes contributed once."""

    keys: tuple[EpochKeys, ...]
    layout: Layout
    contributions: tuple[bytes, ...]
    fields: tuple[WordArray, ...]

    @property
    def contributors(self) -> tuple[int, ...]:
        return tuple(range(1, len(self.keys) + 1))


@functools.cache
def world(nodes: int, threshold: int) -> World:
    keys = insecure_epoch_keys(nodes, threshold, source=keystream(bytes([nodes]) * 32))
    layout = Layout(
        grid=1.0,
        limit=1,
        tail=0,
        values=COEFFICIENTS,
        field_bits=FIELD_BITS,
        fields=1,
        parameter_set=parameter_set_for(nodes, threshold).name,
        noise_scale=0.0,
    )
    rng = np.random.default_rng(nodes)
    fields = tuple(rng.integers(0, 2**30, COEFFICIENTS, dtype=np.uint64) for _ in keys)
    sent = (
        ThresholdContributor(k).contribute(f, plan_digest=PLAN, layout=layout)[0]
        for k, f in zip(keys, fields, strict=True)
    )
    return World(keys=keys, layout=layout, contributions=tuple(sent), fields=fields)


def answers_of(here: World, openers: Sequence[int]) -> dict[int, bytes]:
    return {
        j: ThresholdContributor(here.keys[j - 1]).open(
            Opening(
                plan_digest=PLAN,
                layout=here.layout,
                contributors=here.contributors,
                openers=openers,
                headers_digest=HEADERS,
            )
        )[0]
        for j in openers
    }


def integers(residues: Residues) -> Integers:
    columns = residues[:, :COEFFICIENTS].astype(object)
    found: Integers = (np.array(LIFTS, object) @ columns % MODULUS).tolist()
    return found


def centred(value: int) -> int:
    value %= MODULUS
    return value - MODULUS if value > MODULUS // 2 else value


def times_public(residues: Residues) -> Residues:
    """A known polynomial in transform form times the public polynomial, in coefficients."""
    (found,) = ring().products([public_polynomial(PLAN, 0)], ring().factor(residues))
    return found[:, :COEFFICIENTS].copy()


@functools.cache
def own_answer(here: World, colluder: int) -> Residues:
    """a times the colluder's share of the sum of secrets: it needs nobody for this."""
    shares = here.keys[colluder - 1].shares
    total = np.zeros_like(shares[1])
    for dealer in here.contributors:
        total = add(total, shares[dealer])
    return times_public(total)


def summed_errors(here: World) -> Integers:
    """What the attacker is after; computed with all secrets, to judge the attack."""
    total = [0] * COEFFICIENTS
    for keys, data, fields in zip(here.keys, here.contributions, here.fields, strict=True):
        a_s, b = integers(times_public(keys.secret.ntt)), integers(residues_from_bytes(data, COEFFICIENTS))
        for at in range(COEFFICIENTS):
            total[at] += centred(b[at] + a_s[at] - scale(1, FIELD_BITS) * int(fields[at]))
    assert max(map(abs, total)) <= 21 * len(here.keys)
    return total


class Attacker:
    """The coordinator with the keys of the colluders."""

    def __init__(self, here: World, colluders: Sequence[int], answers: Mapping[int, bytes]) -> None:
        self.here = here
        self.keys = {c: here.keys[c - 1] for c in colluders}
        self.openers = tuple(answers)
        self.unknown = [j for j in self.openers if j not in self.keys]
        self.answers = {j: self._without_known_masks(j, answers[j]) for j in self.openers}

    def _without_known_masks(self, opener: int, data: bytes) -> Integers:
        """An answer less the masks that a colluder shares with its sender."""
        values = integers(residues_from_bytes(data, COEFFICIENTS))
        tag = opening_tag(PLAN, self.here.contributors, self.openers, HEADERS, 0)
        for other in self.openers:
            holder = other if other in self.keys else opener
            if other == opener or holder not in self.keys:
                continue
            pair = self.keys[holder].pair_keys[opener if holder == other else other]
            mask = integers(pair_mask(pair, tag, COEFFICIENTS))
            sign = 1 if other > opener else -1
            values = [v - sign * m for v, m in zip(values, mask, strict=True)]
        return values

    def known_smudging(self, opener: int) -> Integers:
        """A colluder's own f_j."""
        part = integers(multiplied(own_answer(self.here, opener), lagrange(self.openers, opener)))
        return [centred(h - a) for h, a in zip(self.answers[opener], part, strict=True)]

    def opened_noise(self) -> Integers:
        """Sum of errors and of the smudging of the openers that do not collude."""
        parts = [integers(residues_from_bytes(b, COEFFICIENTS)) for b in self.here.contributions]
        parts += list(self.answers.values())
        distance = scale(1, FIELD_BITS)
        known = [self.known_smudging(j) for j in self.openers if j in self.keys]
        return [
            centred(
                (x := sum(p[at] for p in parts) % MODULUS)
                - (x + distance // 2) % MODULUS // distance * distance
            )
            - sum(f[at] for f in known)
            for at in range(COEFFICIENTS)
        ]

    def relation(self, colluder: int) -> Integers:
        """Sum of g_j f_j over openers that do not collude, from answers and the colluder's share."""
        weights = weights_of(self.openers, colluder)
        first = self.openers[0]
        # The colluder's share is R times the sum of j / (j - c) times the openers' weighted shares.
        ratio = math.prod(Fraction(m - colluder, m) for m in self.openers)
        factor = Fraction(weights[first]) / Fraction(first, first - colluder) / ratio
        modular = factor.numerator * pow(factor.denominator, -1, MODULUS)
        own = integers(own_answer(self.here, colluder))
        known = {j: self.known_smudging(j) for j in self.openers if j in self.keys}
        return [
            centred(
                sum(weights[j] * self.answers[j][at] for j in self.openers)
                - modular * own[at]
                - sum(weights[j] * f[at] for j, f in known.items())
            )
            for at in range(COEFFICIENTS)
        ]

    def guesses(self) -> Iterator[tuple[int, Integers]]:
        """For each usable modulus r the attacker's summed error modulo r."""
        outside = [c for c in self.keys if c not in self.openers]
        if not outside:
            return
        noise, relations = self.opened_noise(), [self.relation(c) for c in outside]
        for modulus in MODULI:
            factors = combination([weights_of(self.openers, c) for c in outside], self.unknown, modulus)
            if factors is not None:
                known = (
                    sum(f * r[at] for f, r in zip(factors, relations, strict=True))
                    for at in range(COEFFICIENTS)
                )
                yield modulus, [(e - k) % modulus for e, k in zip(noise, known, strict=True)]


def weights_of(openers: Sequence[int], colluder: int) -> dict[int, int]:
    """Integers g_j without a common factor, proportional to j / (j - c)."""
    ratios = {j: Fraction(j, j - colluder) for j in openers}
    common = math.lcm(*(r.denominator for r in ratios.values()))
    whole = {j: int(r * common) for j, r in ratios.items()}
    divisor = math.gcd(*whole.values())
    return {j: g // divisor for j, g in whole.items()}


def combination(
    weights: Sequence[Mapping[int, int]], unknown: Sequence[int], modulus: int
) -> tuple[int, ...] | None:
    """Factors that make the weights add up to 1 modulo ``modulus`` at every unknown opener."""
    span = range(modulus) if modulus ** len(weights) < 1000 else (0, 1, modulus - 1)
    for factors in product(span, repeat=len(weights)):
        if all(sum(f * w[j] for f, w in zip(factors, weights, strict=True)) % modulus == 1 for j in unknown):
            return factors
    return None


def leaking_openers(nodes: int, threshold: int, colluders: Sequence[int]) -> tuple[int, ...] | None:
    """A set T that lets these colluders attack, by arithmetic alone."""
    for openers in combinations(range(1, nodes + 1), threshold):
        outside = [c for c in colluders if c not in openers]
        unknown = [j for j in openers if j not in colluders]
        tables = [weights_of(openers, c) for c in outside]
        if outside and any(combination(tables, unknown, modulus) for modulus in MODULI):
            return openers
    return None


def colluder_sets(nodes: int, most: int) -> list[tuple[int, ...]]:
    return [c for size in range(1, most + 1) for c in combinations(range(1, nodes + 1), size)]


def no_mask(*args: object, coefficients: int) -> Residues:
    return np.zeros((len(PRIMES), coefficients), np.uint64)


def attack_all(nodes: int, threshold: int, most: int) -> list[tuple[int, float]]:
    """For each usable set of colluders and modulus the share of coefficients that were guessed right."""
    here = world(nodes, threshold)
    secret = summed_errors(here)
    answers: dict[tuple[int, ...], dict[int, bytes]] = {}
    results = []
    for colluders in colluder_sets(nodes, most):
        openers = leaking_openers(nodes, threshold, colluders)
        if openers is None:
            continue
        if openers not in answers:
            answers[openers] = answers_of(here, openers)
        for modulus, guess in Attacker(here, colluders, answers[openers]).guesses():
            right = sum(g == s % modulus for g, s in zip(guess, secret, strict=True))
            results.append((modulus, right / COEFFICIENTS))
    return results


# n, t and the most colluders that PROTOCOL.md section 7 allows: min(t - 1, 2t - n - 1).
ROSTERS = [(4, 3, 1, 2), pytest.param(8, 6, 3, 60, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("nodes", "threshold", "most", "usable"), ROSTERS)
def test_without_masks_colluders_read_the_summed_error_modulo_small_numbers(
    monkeypatch: pytest.MonkeyPatch, nodes: int, threshold: int, most: int, usable: int
) -> None:
    monkeypatch.setattr(threshold_node, "zero_mask", no_mask)
    monkeypatch.setattr(Attacker, "_without_known_masks", lambda self, opener, data: read(data))
    results = attack_all(nodes, threshold, most)
    assert len(results) >= usable
    assert all(share == 1 for _, share in results)


def read(data: bytes) -> Integers:
    return integers(residues_from_bytes(data, COEFFICIENTS))


@pytest.mark.parametrize(("nodes", "threshold", "most", "usable"), ROSTERS)
def test_with_masks_every_set_of_colluders_guesses_at_chance(
    nodes: int, threshold: int, most: int, usable: int
) -> None:
    results = attack_all(nodes, threshold, most)
    assert len(results) >= usable
    for modulus, share in results:
        # A guess is right with chance 1 / r; Hoeffding: more than 0.45 above it in 48 trials has a chance
        # below e^-19 = 4e-9, for a few hundred attacks together below 1e-6.
        assert share < 1 / modulus + 0.45


@pytest.mark.slow
def test_two_provinces_of_31_recover_the_error_from_one_opening_only_without_masks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = world(31, 21)
    secret = summed_errors(here)
    colluders = (29, 31)
    openers = tuple(range(1, 22))
    masked = dict(Attacker(here, colluders, answers_of(here, openers)).guesses())
    monkeypatch.setattr(threshold_node, "zero_mask", no_mask)
    open_answers = dict(Attacker(here, colluders, answers_of(here, openers)).guesses())
    assert set(masked) == set(open_answers) >= {29, 31}

    def recovered(guesses: dict[int, Integers]) -> Integers:
        """Chinese remainders: 29 * 31 = 899 residues, the summed error has deviation 18."""
        both = [
            (a * 31 * pow(31, -1, 29) + b * 29 * pow(29, -1, 31)) % 899
            for a, b in zip(guesses[29], guesses[31], strict=True)
        ]
        return [value - 899 if value > 449 else value for value in both]

    assert recovered(open_answers) == secret
    wrong = sum(a != b for a, b in zip(recovered(masked), secret, strict=True))
    assert wrong > 40  # 48 guesses among 899: more than seven right by chance has a chance below 1e-16
