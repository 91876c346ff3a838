from pathlib import Path

import pytest

from fedmed.errors import ProcessFailed
from fedmed_server.home import Home
from fedmed_server.launch import ASK_FLOWER_S, AWAY_S, FlowersWord


class Flower:
    """A clock that a test turns, and what Flower would say; None while the SuperLink is away."""

    def __init__(self) -> None:
        self.now = 0.0
        self.said: str | None = "running"
        self.asked = 0

    def clock(self) -> float:
        return self.now

    def status(self, home: Home, run_id: int) -> str:
        self.asked += 1
        if self.said is None:
            raise ProcessFailed("away")
        return self.said


@pytest.fixture
def flower() -> Flower:
    return Flower()


@pytest.fixture
def word(flower: Flower, tmp_path: Path) -> FlowersWord:
    return FlowersWord(Home(tmp_path), 7, status=flower.status, now=flower.clock)


def test_flower_is_asked_rarely_and_not_while_phases_come_to_their_ends(
    flower: Flower, word: FlowersWord
) -> None:
    for _ in range(100):
        flower.now += ASK_FLOWER_S / 10
        assert not word.is_over()
    assert flower.asked == 9
    for _ in range(100):
        flower.now += ASK_FLOWER_S / 10
        word.put_off()
        assert not word.is_over()
    assert flower.asked == 9
    flower.said = "finished:failed"
    flower.now += 2 * ASK_FLOWER_S
    assert word.is_over()


def test_a_superlink_that_is_away_for_less_than_the_limit_ends_no_watching(
    flower: Flower, word: FlowersWord
) -> None:
    for _ in range(3):
        flower.said = None
        while flower.now % 1000 < AWAY_S - 1:
            flower.now += 1
            assert not word.is_over()
        flower.said = "running"
        flower.now += ASK_FLOWER_S + 1
        assert not word.is_over()
        flower.now = 1000 * (flower.now // 1000 + 1)
        word.put_off()
    assert flower.asked > 3


def test_one_that_stays_away_ends_the_watching(flower: Flower, word: FlowersWord) -> None:
    flower.said = None
    while flower.now < AWAY_S:
        flower.now += 1
        assert not word.is_over()
    flower.now += ASK_FLOWER_S
    with pytest.raises(ProcessFailed):
        word.is_over()


def test_a_run_that_nobody_knows_is_not_asked_for(flower: Flower, tmp_path: Path) -> None:
    word = FlowersWord(Home(tmp_path), None, status=flower.status, now=flower.clock)
    flower.now += AWAY_S
    assert not word.is_over()
    assert flower.asked == 0
