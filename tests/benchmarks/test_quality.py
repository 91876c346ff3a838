import json
from types import ModuleType

import pytest


@pytest.mark.slow
def test_a_clean_toy_province_is_checked_and_nothing_found(
    benchmark: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark.main(["--json", "--people", "300"])
    document = json.loads(capsys.readouterr().out)
    assert {"commit", "machine", "versions", "repeats", "seed"} <= set(document)
    assert document["found"] == []
    assert document["rules"] > 300
    assert document["rows"] > 1_000
    assert document["times_a_read"] > 0
