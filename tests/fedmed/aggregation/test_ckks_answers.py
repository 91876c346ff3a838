"""Answers of scheme ``ckks``: all of T together give the sum, fewer or other questions give nothing."""

from dataclasses import replace

import pytest

from fedmed.aggregation.ckks_answers import (
    ANSWER_BYTES,
    answer_tag,
    hidden,
    joined,
    read_answers,
    write_answer,
)
from fedmed.aggregation.contract import Opening
from fedmed.errors import OpeningOutOfBounds
from fedmed.types import Layout

KEY, OTHER = bytes(range(32)), bytes(range(1, 33))
SUM = b"sixteen bytes ok"
LAYOUT = Layout(
    grid=1.0, limit=1, tail=0, values=2, field_bits=8, fields=1, parameter_set="ckks400", noise_scale=0.0
)
ASKED = Opening(
    plan_digest=bytes(32), layout=LAYOUT, contributors=(1, 2, 3), openers=(1, 2, 4), headers_digest=bytes(32)
)


def answers(opened: bytes = SUM, key: bytes = KEY) -> list[bytes]:
    """Three openers' chunks; two shares are free, the last makes them give the key."""
    free = [bytes([7]) * 32, bytes([9]) * 32]
    return [write_answer(opened, key=key, share=share) for share in (*free, joined([key, *free]))]


def test_all_answers_give_the_sum_in_any_order() -> None:
    assert {len(one) for one in answers()} == {ANSWER_BYTES + len(SUM)}
    assert all(SUM not in one for one in answers())
    assert read_answers(answers()) == read_answers(answers()[::-1]) == SUM


def test_fewer_doubled_unlike_or_altered_answers_give_nothing() -> None:
    one, two, three = answers()
    false = bytes([one[0] ^ 1]) + one[1:]
    for wrong in ([one], [one, two], [one, two, two], [one, one, three], [false, two, three]):
        with pytest.raises(OpeningOutOfBounds, match="share"):
            read_answers(wrong)
    for other in (answers(opened=SUM[::-1])[2], answers(key=OTHER)[2]):
        with pytest.raises(OpeningOutOfBounds, match="different"):
            read_answers([one, two, other])


def test_hiding_twice_gives_back_and_another_key_does_not() -> None:
    assert hidden(hidden(SUM, KEY), KEY) == SUM
    assert hidden(hidden(SUM, KEY), OTHER) != SUM


def test_every_part_of_a_question_gives_another_key() -> None:
    changed = (
        replace(ASKED, plan_digest=bytes([1]) * 32),
        replace(ASKED, contributors=(1, 2)),
        replace(ASKED, contributors=(1, 2, 4)),
        replace(ASKED, openers=(1, 2, 3)),
        replace(ASKED, contributors=(1, 2), openers=(3, 1, 2, 4)),  # the same numbers, cut elsewhere
        replace(ASKED, headers_digest=bytes([1]) * 32),
    )
    tags = {answer_tag(asked, 0) for asked in (ASKED, *changed)} | {answer_tag(ASKED, 1)}
    assert len(tags) == len(changed) + 2
    assert answer_tag(replace(ASKED, sums=(b"x",)), 0) in tags, "the sum itself is bound by its authenticator"
