"""A registration in the text of ``node.toml``: two keys change, every other character stays."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed_nodes.node_text import with_registration
from tests.examples import at_most

FOUND = bytes(range(32))
TEXT = """\
version = 1   # first

[[dataset]]   # of the hospitals
name = "a"
path = "a.csv"  # exported in March

# The next one is new.
[[dataset]]
name = "b"
fingerprint = ""   # not yet
columns = [
  "x",
  "y",  # [codes]
]

[socket]
group = "fedmed"
"""


def test_two_lines_are_added_behind_the_last_key() -> None:
    new = with_registration(TEXT, 0, columns=("x", "性别"), fingerprint=FOUND)
    before, after = TEXT.split("  # exported in March\n")
    added = f'columns = ["x", "性别"]\nfingerprint = "{FOUND.hex()}"\n'
    assert new == f"{before}  # exported in March\n{added}{after}"


def test_columns_that_stand_there_and_comments_stay_as_they_are() -> None:
    new = with_registration(TEXT, 1, columns=("x", "y"), fingerprint=FOUND)
    assert new == TEXT.replace('fingerprint = ""', f'fingerprint = "{FOUND.hex()}"')
    assert with_registration(new, 1, columns=("x", "y"), fingerprint=FOUND) == new


def test_scores_are_written_replaced_and_taken_away() -> None:
    new = with_registration(TEXT, 0, columns=("x",), fingerprint=FOUND, quality={"validity": 0.95})
    assert tomllib.loads(new)["dataset"][0]["quality"] == {"validity": 0.95}
    again = with_registration(new, 0, columns=("x",), fingerprint=FOUND, quality={"validity": 0.5})
    assert again == new.replace("0.95", "0.5")
    assert with_registration(again, 0, columns=("x",), fingerprint=FOUND) == again
    none = with_registration(again, 0, columns=("x",), fingerprint=FOUND, quality={})
    assert tomllib.loads(none)["dataset"][0]["quality"] == {}


def test_windows_line_ends_and_an_empty_list_of_columns_are_understood() -> None:
    text = 'version = 1\r\n[[dataset]]\r\nname = "a"\r\ncolumns = []\r\n'
    new = with_registration(text, 0, columns=("x",), fingerprint=FOUND)
    assert new.startswith('version = 1\r\n[[dataset]]\r\nname = "a"\r\ncolumns = ["x"]\r\n')


@pytest.mark.parametrize(
    "text",
    [
        "dataset = [{ name = 'a' }]\n",
        "[[dataset]]\nname = 'a'\n'fingerprint' = ''\n",
        "[[dataset]]\nname = 'a'\ncolumns = [  # ]\n]\n",
        'note = """\n[[dataset]]\n"""\n[["dataset"]]\nname = "a"\n',
    ],
)
def test_a_table_that_is_not_understood_is_left_alone_and_the_lines_are_shown(text: str) -> None:
    with pytest.raises(ConfigError, match=f'(?s)a is not written .*fingerprint = "{FOUND.hex()}"'):
        with_registration(text, 0, columns=("x",), fingerprint=FOUND)


@settings(deadline=None, max_examples=at_most(25))
@given(
    columns=st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1), min_size=1),
    fingerprint=st.binary(min_size=32, max_size=32),
    at=st.integers(0, 1),
)
def test_what_is_written_is_what_is_read_and_nothing_else_changes(
    columns: list[str], fingerprint: bytes, at: int
) -> None:
    wanted = tomllib.loads(TEXT)
    wanted["dataset"][at] |= {"columns": columns, "fingerprint": fingerprint.hex()}
    try:
        new = with_registration(TEXT, at, columns=columns, fingerprint=fingerprint)
    except ConfigError:
        assert at == 1, "only a list over several lines with a comment may be refused"
    else:
        assert tomllib.loads(new) == wanted
