from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from fedmed import studies
from fedmed.errors import ConfigError
from tests.small_question import small_question, stays


def rows() -> dict[str, pa.Table]:
    return {node: stays(seed) for seed, node in enumerate(small_question().nodes)}


@pytest.fixture(scope="module")
def result() -> studies.StudyResult:
    return studies.run(small_question(), rows())


def test_frames_hold_what_the_document_says(result: studies.StudyResult) -> None:
    first = result.document["result"]["statistics"][0]
    frame = result.frame()
    assert result.names[0] == first["name"]
    known = [value for value in first["columns"]["estimate"] if value is not None]
    assert frame["estimate"].dropna().tolist() == known
    with pytest.raises(ConfigError, match="no table"):
        result.frame("nothing")


def test_data_frames_are_taken_as_rows(result: studies.StudyResult) -> None:
    frames = {node: table.to_pandas() for node, table in rows().items()}
    again = studies.run(small_question(), frames)
    assert again.document["result"] == result.document["result"]


def test_what_is_saved_can_be_loaded(result: studies.StudyResult, tmp_path: Path) -> None:
    page = result.save(tmp_path)
    assert page.is_file()
    again = studies.load(tmp_path)
    assert again.document == json.loads(json.dumps(result.document))
    assert again.frame().equals(result.frame())
    with pytest.raises(ConfigError, match="cannot read"):
        studies.load(tmp_path / "nowhere")


def test_a_notebook_shows_the_page_without_running_anything(result: studies.StudyResult) -> None:
    shown = result._repr_html_()
    assert shown.startswith("<iframe")
    assert 'sandbox=""' in shown
    assert shown.count("<") == 2  # the page is escaped into the frame
