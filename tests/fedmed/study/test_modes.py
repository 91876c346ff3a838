"""What each mode of a training study needs of the file."""

from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.study import canonical_bytes, from_canonical_bytes, load_study, to_toml
from fedmed.study.modes import LocalTable
from tests.small_province import small_study

STATISTICS = {"privacy__mode": "statistics", "training__aggregations": 1}
LOCAL = {"privacy__mode": "local"}


@pytest.mark.parametrize("changes", [LOCAL, STATISTICS, {**LOCAL, "local__server": "adam"}])
def test_a_study_in_any_mode_is_written_and_read_back(changes: dict[str, object]) -> None:
    spec = small_study(**changes)  # type: ignore[arg-type]  # keys of the study file
    assert load_study(to_toml(spec)) == spec
    assert from_canonical_bytes(canonical_bytes(spec)) == spec


def test_the_settings_of_local_steps_are_part_of_what_provinces_approve() -> None:
    assert small_study(**LOCAL).local == LocalTable()  # type: ignore[arg-type]
    assert b'"sample_rate":0.2' in canonical_bytes(small_study(**LOCAL))  # type: ignore[arg-type]
    assert b'"local"' not in canonical_bytes(small_study()), "older studies keep their digests"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"local__steps": 3}, "belongs to privacy.mode"),
        ({**LOCAL, "local__sample_rate": 0.0}, "local.sample_rate"),
        ({**LOCAL, "local__steps": 0}, "local.steps"),
        ({**LOCAL, "local__update_clip": -1.0}, "local.update_clip"),
        ({**STATISTICS, "model__kind": "mlp", "model__hidden": [4]}, "logistic"),
        ({**STATISTICS, "training__aggregations": 2}, "summed once"),
        ({**STATISTICS, "training__rows_of_a_person": "sum"}, "mean"),
    ],
)
def test_a_setting_of_another_mode_is_a_fault_of_the_file(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        small_study(**changes)  # type: ignore[arg-type]
