from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from fedmed.cli.demo_study import Source, demo_study
from fedmed.cli.deploy_demo import AGGREGATIONS, short_study
from fedmed.cli.edge import run
from fedmed.types import Scheme

TODAY = datetime.date(2026, 6, 1)


def test_the_deployed_study_differs_in_aggregations_and_baselines_only() -> None:
    spec = demo_study(Source.SYNTHETIC, people=8_000, epsilon=1.0, scheme=Scheme.THRESHOLD, today=TODAY)
    short = short_study(spec)
    assert short.training.aggregations == AGGREGATIONS
    assert not short.report.baselines
    back = {"training": spec.training, "report": spec.report}
    assert short.model_copy(update=back) == spec


def test_losses_on_purpose_belong_to_the_simulation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["demo", "--deploy", "--people", "2000", "--lose", "shanghai@open", "--out", str(tmp_path)]
    assert run(words) == 2
    assert "leave out --deploy or --lose" in capsys.readouterr().err
    assert not any(tmp_path.iterdir())
