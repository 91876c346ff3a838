from __future__ import annotations

import pytest

from fedmed.cli.drill import CONTRIBUTE, PROPOSE, Drill, Loss, parse_loss
from fedmed.errors import ConfigError
from fedmed.protocol.steps import PhaseKind

NODES = ("shanghai", "jiangsu", "zhejiang")
ROUND = (CONTRIBUTE, PhaseKind.OPEN.value)


def fates(loss: str, *, point: int = 2) -> list[bool]:
    """What is lost of a rehearsal, the proposal and three rounds."""
    drill = Drill([parse_loss(loss, NODES)], NODES)
    return [drill.loses(point, kind) for kind in (*ROUND, PROPOSE, *ROUND, *ROUND, *ROUND)]


def test_the_message_types_are_those_of_the_protocol() -> None:
    assert {PROPOSE, CONTRIBUTE} == {PhaseKind.PROPOSE.value, PhaseKind.CONTRIBUTE.value}


def test_a_node_lost_before_contributing_misses_everything_after() -> None:
    assert fates("jiangsu@contribute") == [False] * 3 + [True] * 6
    assert fates("jiangsu@contribute:2") == [False] * 5 + [True] * 4


def test_a_node_lost_before_opening_still_contributes_once() -> None:
    assert fates("jiangsu@open") == [False] * 4 + [True] * 5
    assert fates("jiangsu@open:3") == [False] * 8 + [True]


def test_other_nodes_are_spared() -> None:
    assert not any(fates("jiangsu@open", point=1))


def test_a_loss_is_read() -> None:
    assert parse_loss("zhejiang@open:7", NODES) == Loss(
        node="zhejiang", after_contributing=True, contribution=7
    )


@pytest.mark.parametrize("wrong", ["", "jiangsu", "jiangsu@train", "anhui@open", "jiangsu@open:0", "@open"])
def test_other_words_are_refused(wrong: str) -> None:
    with pytest.raises(ConfigError):
        parse_loss(wrong, NODES)
