"""The split is a function of the pseudonym, balanced and monotone."""

import hashlib
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.split import is_held_out
from fedmed.errors import ConfigError
from tests.examples import at_most

ids = st.lists(st.text(max_size=12), max_size=40)


@settings(deadline=None, max_examples=at_most(20))
@given(people=ids, share=st.floats(0, 0.999))
def test_an_id_gets_the_same_answer_wherever_it_stands(people, share):
    together = is_held_out(people, share)
    alone = [bool(is_held_out([person], share)[0]) for person in people]
    assert together.tolist() == alone


@settings(deadline=None, max_examples=at_most(20))
@given(people=ids, small=st.floats(0, 0.999), large=st.floats(0, 0.999))
def test_a_larger_share_holds_out_a_superset(people, small, large):
    small, large = sorted((small, large))
    assert not np.any(is_held_out(people, small) & ~is_held_out(people, large))


def test_the_answer_follows_from_sha256_as_documented():
    people = [f"p{i}" for i in range(200)]
    words = [hashlib.sha256(b"fedmed/held-out/v1\x00" + p.encode()).digest()[:8] for p in people]
    expected = [int.from_bytes(word, "big") / 2**64 < 0.3 for word in words]
    assert is_held_out(people, 0.3).tolist() == expected


def test_the_share_is_met_up_to_chance():
    # Binomial(100,000, 0.3): five standard deviations are 0.0073, a false alarm below 1e-6.
    assert abs(is_held_out((str(i) for i in range(100_000)), 0.3).mean() - 0.3) < 0.0073


def test_a_share_of_zero_holds_nobody_out():
    assert not is_held_out([str(i) for i in range(1000)], 0.0).any()


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_share_outside_its_bounds_is_refused(share):
    with pytest.raises(ConfigError, match="held_out must be in"):
        is_held_out(["a"], share)


@pytest.mark.slow
def test_a_hundred_thousand_persons_take_well_under_a_second():
    people = [f"{i:016x}" for i in range(100_000)]
    best = min(_seconds(people) for _ in range(3))
    assert best < 0.5


def _seconds(people):
    start = time.process_time()
    is_held_out(people, 0.3)
    return time.process_time() - start
