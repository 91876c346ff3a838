"""The shared key of scheme ``ckks`` and the authenticator of sums."""

import copy
import pickle

import numpy as np
import pytest

from fedmed.crypto.ckks_parameters import PRIMES, RING_DEGREE, TAG_PRIMES
from fedmed.crypto.ckks_secret import CkksKeys, check_sum, is_ckks, joint_key, tag_of
from fedmed.errors import ConfigError, IntegrityError, SumForged, UnknownVersion
from fedmed.types import WordArray

KEYS = CkksKeys(bytes(range(32)), point=2, threshold=3)
PLACE = bytes(32)
SEEDS = {1: bytes(32), 2: bytes([1]) * 32, 3: bytes([2]) * 32}


def any_residues(seed: int) -> WordArray:
    rng = np.random.default_rng(seed)
    return np.stack([rng.integers(0, p, (1, 2, RING_DEGREE), dtype=np.uint64) for p in PRIMES], axis=2)


def total_of(several: list[WordArray], tags: list[tuple[int, ...]]) -> tuple[WordArray, tuple[int, ...]]:
    residues = np.sum(several, axis=0, dtype=np.uint64) % np.array(PRIMES, np.uint64)[:, None]
    return residues, tuple(sum(ns) % p for ns, p in zip(zip(*tags, strict=True), TAG_PRIMES, strict=True))


def test_the_tags_of_contributions_add_up_to_the_tag_of_their_sum_and_of_no_other() -> None:
    points, several = (1, 2, 4), [any_residues(seed) for seed in range(3)]
    several[0][:] = np.array(PRIMES, np.uint64)[:, None] - np.uint64(1)  # the largest there are
    tags = [tag_of(KEYS, one, place=PLACE, point=p) for one, p in zip(several, points, strict=True)]
    residues, tag = total_of(several, tags)
    check_sum(KEYS, residues, tag, place=PLACE, contributors=points)
    altered = residues.copy()
    altered[0, 1, 1, RING_DEGREE - 1] ^= np.uint64(1)
    other = CkksKeys(bytes(32), point=2, threshold=3)
    attacks = (
        (KEYS, altered, tag, PLACE, points),
        (KEYS, residues, (tag[0] ^ 1, *tag[1:]), PLACE, points),
        (KEYS, residues, tag, bytes([1]) * 32, points),
        (KEYS, residues, tag, PLACE, (1, 2, 3)),
        (KEYS, residues, tag, PLACE, (1, 2)),
        (KEYS, several[1], tags[1], PLACE, points),
        (other, residues, tag, PLACE, points),
    )
    for keys, words, shown, place, contributors in attacks:
        with pytest.raises(SumForged):
            check_sum(keys, words, shown, place=place, contributors=contributors)


def test_a_tag_is_the_inner_product_with_weights_plus_a_pad() -> None:
    """Against big integers: linear in every residue, with one weight for each."""
    zero = np.zeros((1, 2, len(PRIMES), RING_DEGREE), np.uint64)
    pad = tag_of(KEYS, zero, place=PLACE, point=1)
    one, much = zero.copy(), zero.copy()
    one[0, 1, 0, 5], much[0, 1, 0, 5] = 1, PRIMES[0] - 1
    weights = [
        (a - b) % p for a, b, p in zip(tag_of(KEYS, one, place=PLACE, point=1), pad, TAG_PRIMES, strict=True)
    ]
    expected = tuple((b - w) % p for b, w, p in zip(pad, weights, TAG_PRIMES, strict=True))
    assert tag_of(KEYS, much, place=PLACE, point=1) == expected
    assert all(0 < w < 2**30 for w in weights[:4])
    assert weights[4:] == [0] * 4


def test_pads_hide_equal_contributions_of_two_nodes_and_of_two_plans() -> None:
    one = any_residues(7)
    seen = {tag_of(KEYS, one, place=place, point=p) for place in (PLACE, bytes([1]) * 32) for p in (1, 2)}
    assert len(seen) == 4


def test_the_joint_key_needs_every_seed_in_its_place_and_the_epoch() -> None:
    key = joint_key(PLACE, SEEDS)
    assert len(key) == 32
    assert key == joint_key(PLACE, dict(reversed(SEEDS.items())))
    others = [
        joint_key(bytes([1]) * 32, SEEDS),
        *(joint_key(PLACE, {**SEEDS, point: bytes([9]) * 32}) for point in SEEDS),
        joint_key(PLACE, {**SEEDS, 1: SEEDS[2], 2: SEEDS[1]}),
        joint_key(PLACE, {p: s for p, s in SEEDS.items() if p != 3}),
    ]
    assert key not in others
    assert len(set(others)) == len(others)


def test_keys_are_kept_as_they_are_and_other_bytes_are_refused() -> None:
    data = KEYS.to_bytes()
    assert is_ckks(data)
    assert CkksKeys.from_bytes(data).to_bytes() == data
    for bad, error in (
        (data[:-1], IntegrityError),
        (data + b"\0", IntegrityError),
        (b"x" + data, UnknownVersion),
    ):
        with pytest.raises(error):
            CkksKeys.from_bytes(bad)
    with pytest.raises(ConfigError):
        CkksKeys(bytes(31), point=1, threshold=3)


def test_keys_stay_out_of_texts_and_copies() -> None:
    assert bytes(range(32)).hex() not in repr(KEYS)
    assert "hidden" in repr(KEYS)
    for move in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            move(KEYS)
