"""Coins: whose canaries, fair bits, one form, a seal that binds and hides."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import AuditFailed, ConfigError
from fedmed.privacy.canaries import Coins, bytes_for, check_seal, coins_from, owned
from tests.examples import at_most

STUDY = bytes(32)


def coins(count: int = 20, seed: int = 1) -> Coins:
    return coins_from(np.random.default_rng(seed).bytes(bytes_for(count)), count)


@settings(max_examples=10)
@given(nodes=st.integers(3, 60), extra=st.integers(0, 4096))
def test_the_nodes_own_the_whole_block_and_nothing_twice(nodes: int, extra: int) -> None:
    canaries = nodes + extra
    slices = [owned(canaries, point, nodes=nodes) for point in range(1, nodes + 1)]
    assert [s.start for s in slices] == [0, *(s.stop for s in slices[:-1])]
    assert slices[-1].stop == canaries
    sizes = {s.stop - s.start for s in slices}
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("canaries", "point"), [(3, 1), (8, 0), (8, 5)])
def test_a_block_that_does_not_fit_the_roster_is_refused(canaries: int, point: int) -> None:
    with pytest.raises(ConfigError):
        owned(canaries, point, nodes=4)


@settings(max_examples=at_most(30))
@given(data=st.binary(min_size=40, max_size=40), count=st.integers(57, 64))
def test_coins_come_back_from_their_bytes(data: bytes, count: int) -> None:
    drawn = coins_from(data, count)
    back = Coins.from_bytes(drawn.to_bytes(), count=count)
    assert back.salt == drawn.salt
    np.testing.assert_array_equal(back.present, drawn.present)


def test_coins_are_the_bits_of_the_source() -> None:
    drawn = coins(80_000)
    # Six deviations of a fair coin.
    assert abs(int(drawn.present.sum()) - 40_000) < 6 * 141


def test_no_coins_have_a_form_too() -> None:
    assert Coins.from_bytes(coins(0).to_bytes(), count=0).present.shape == (0,)


@pytest.mark.parametrize("data", [bytes(34), bytes(36), bytes(34) + b"\x01"])
def test_other_bytes_are_no_coins(data: bytes) -> None:
    with pytest.raises(AuditFailed, match="not those of 20 coins"):
        Coins.from_bytes(data, count=20)


def test_coins_need_their_bytes() -> None:
    with pytest.raises(ConfigError, match="35 bytes are needed for 20 coins"):
        coins_from(bytes(20), 20)


def test_a_seal_binds_coins_study_and_node() -> None:
    sealed = coins()
    seal = sealed.seal(STUDY, "anhui")
    check_seal(sealed, seal, study_digest=STUDY, node="anhui")
    for other, study, node in (
        (coins(seed=2), STUDY, "anhui"),
        (sealed, bytes([1]) * 32, "anhui"),
        (sealed, STUDY, "jiangsu"),
    ):
        with pytest.raises(AuditFailed, match="showed other coins than it had sealed"):
            check_seal(other, seal, study_digest=study, node=node)


def test_coins_are_not_in_a_repr() -> None:
    assert repr(coins()) == "Coins()"
