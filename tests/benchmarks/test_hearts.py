"""The study of the four hospitals runs at toy size, so that it cannot rot."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import pytest

HEARTS = Path(__file__).resolve().parents[3] / "shared" / "data" / "heart_disease_4sites" / "heart.csv"


@pytest.mark.slow
def test_a_trial_prints_one_document_with_every_part(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    if not HEARTS.is_file():
        pytest.skip(
            "put heart.csv of the four hospitals into ../shared/data/heart_disease_4sites to run this"
        )
    benchmark.main(["--data", str(HEARTS), "--splits", "2", "--json"])
    document = json.loads(capsys.readouterr().out)
    assert {"commit", "machine", "versions", "seed", "repeats", "settings"} <= document.keys()
    assert set(document["distance"]) == {"0.5", "1.0", "8.0"}
    assert len(document["published_plain"]["fedavg"]["five_splits"]) == 2
    assert set(document["published_chances"]) == {*document["published_plain"], "all"}
    for epsilon, theirs in benchmark.PUBLISHED.items():
        assert document["published_private"][str(epsilon)]["published"] == theirs
