from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed_nodes.aligned import aligned, width_of
from tests.examples import at_most

CELLS = st.text(alphabet="ab 年龄ε,1", max_size=6)


def test_a_chinese_character_takes_two_places() -> None:
    assert (width_of("年龄"), width_of("age"), width_of("ε")) == (4, 3, 1)


def test_columns_stand_below_each_other() -> None:
    rows = [("字段", "epsilon"), ("age", "1.5"), ("就诊人次", "10.25")]
    assert aligned(rows, numbers=(1,)) == [
        "字段      epsilon",
        "age           1.5",
        "就诊人次    10.25",
    ]


@settings(deadline=None, max_examples=at_most(30))
@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=5))
def test_a_column_set_to_the_right_ends_at_one_place(rows: list[tuple[str, str]]) -> None:
    marked = [(first, f"{second}|") for first, second in rows]
    assert len({width_of(line) for line in aligned(marked, numbers=(1,))}) == 1
