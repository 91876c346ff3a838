from __future__ import annotations

import pytest

from fedmed.doctor.finding import Finding, Level, amiss, note, tried, well
from fedmed.errors import ConfigError


def test_what_is_raised_is_what_is_wrong() -> None:
    def look() -> str:
        raise ConfigError("too small; add some")

    found = tried("memory", look, why="it stops", mend="add some")
    assert (found.ok, found.level, found.detail) == (False, Level.BAD, "config_error: too small; add some")
    assert (found.why, found.mend) == ("it stops", "add some")


def test_a_files_trouble_is_what_is_wrong() -> None:
    def look() -> str:
        raise OSError(28, "No space left on device", "/srv/store")

    found = tried("ledger", look, why="it stops", mend="free some")
    assert found.detail == "No space left on device: /srv/store"


def test_what_nobody_foresaw_passes_through() -> None:
    def look() -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        tried("sum", look, why="a", mend="b")


def test_notes_need_no_mending_and_what_is_not_well_says_what_mends_it() -> None:
    assert note("nodes", "one is away", why="a", mend="b").ok
    assert not amiss("nodes", "all are away", why="a", mend="b").ok
    assert well("nodes", "all are there").mend == ""
    with pytest.raises(ConfigError, match="must say why it matters"):
        Finding(name="nodes", level=Level.BAD, detail="all are away")
