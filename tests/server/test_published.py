"""The register of what was published: durable, and decisive for what later studies may show."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedmed.errors import IntegrityError
from fedmed.plans.statistics import blocks
from fedmed.programs.statistics import CONTRIBUTORS, LIMIT, NOISE_STD, TOTALS
from fedmed_server.published import STATES_FILE, publish
from tests.small_question import BY, STAYS, small_question

PERSONS = {**STAYS, "unit": "persons", "by": BY[:1]}
ALL = (1, 2, 3, 4)


def ask(home: Path, title: str, counts: list[int], points: tuple[int, ...] = ALL, **changes: Any) -> Any:
    spec = small_question(statistics=[PERSONS], study__title=title, data__max_rows_per_person=1, **changes)
    assert sum(block.cells for block in blocks(spec)) == len(counts)
    state = {
        TOTALS: np.array(counts, dtype=np.int64),
        LIMIT: np.array([1 << 40], dtype=np.int64),
        CONTRIBUTORS: np.array(points, dtype=np.int64),
    }
    folder = home / "runs" / title
    folder.mkdir(parents=True, exist_ok=True)
    result = publish(home / "published", folder, spec, state)
    return result["statistics"][0]["columns"]["estimate"]  # type: ignore[index]


def test_the_fourth_province_stays_hidden_after_a_study_of_three(tmp_path: Path) -> None:
    assert None not in ask(tmp_path, "three", [200, 250, 250, 250], (1, 2, 3))
    after = [204, 300, 300, 300]
    assert ask(tmp_path, "four", after) == [None, 300.0, 300.0, 300.0]
    assert None not in ask(tmp_path / "elsewhere", "four", after)


def test_a_result_stays_the_same_whatever_is_published_later(tmp_path: Path) -> None:
    first = ask(tmp_path, "three", [200, 250, 250, 250], (1, 2, 3))
    ask(tmp_path, "four", [204, 300, 300, 300])
    assert ask(tmp_path, "three", [200, 250, 250, 250], (1, 2, 3)) == first
    assert len(list((tmp_path / "published").glob("*.json"))) == 2


def test_another_dataset_version_is_another_matter(tmp_path: Path) -> None:
    ask(tmp_path, "three", [200, 250, 250, 250], (1, 2, 3))
    declared = {f"node{point}": 70 for point in ALL}
    shown = ask(tmp_path, "four", [204, 300, 300, 300], data__declared_persons=declared)
    assert None not in shown


def test_only_the_owner_can_read_register_and_states(tmp_path: Path) -> None:
    ask(tmp_path, "one", [5, 250, 250, 0])
    written = [*(tmp_path / "published").iterdir(), tmp_path / "runs" / "one" / STATES_FILE]
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in written)
    assert stat.S_IMODE((tmp_path / "published").stat().st_mode) == 0o700
    states = (tmp_path / "runs" / "one" / STATES_FILE).read_text()
    assert '"small"' in states
    assert '"zero"' in states


def test_a_register_that_cannot_be_read_stops_the_publication(tmp_path: Path) -> None:
    ask(tmp_path, "one", [50, 250, 250, 90])
    (path,) = (tmp_path / "published").glob("*.json")
    path.write_text("{")
    with pytest.raises(IntegrityError, match="restore"):
        ask(tmp_path, "two", [50, 250, 250, 90])


def test_noise_hides_by_itself_so_small_counts_are_shown(tmp_path: Path) -> None:
    spec = small_question(statistics=[PERSONS], privacy__epsilon=1.0)
    state = {TOTALS: np.array([1.5, -3.0, 250.0, 7.0]), NOISE_STD: np.array([4.0])}
    result: Any = publish(tmp_path / "published", tmp_path, spec, state)
    assert result["statistics"][0]["columns"]["estimate"] == [1.5, -3.0, 250.0, 7.0]
    assert not (tmp_path / "published").exists()
