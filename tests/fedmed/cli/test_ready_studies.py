from __future__ import annotations

import datetime

import pytest

from fedmed.cli.ready_kinds import ReadyStudy
from fedmed.cli.ready_studies import next_commands, ready_study
from fedmed.study import load_study

READY = [kind for kind in ReadyStudy if kind is not ReadyStudy.TRAINING]


@pytest.mark.parametrize("kind", READY)
def test_a_ready_study_loads_as_it_stands_and_lives_a_year(kind: ReadyStudy) -> None:
    spec = load_study(ready_study(kind, today=datetime.date(2026, 1, 1)))
    assert spec.expires == datetime.date(2027, 1, 1)
    assert spec.privacy.is_exact
    assert "fedmed study run my.toml --data" in next_commands(kind, "my.toml")
