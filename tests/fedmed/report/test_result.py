"""The result document: read back as written, and refused when it is not one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from fedmed.errors import ConfigError, UnknownVersion
from fedmed.report.result import Result, worst_node

Make = Callable[..., Result]


def written(result: Result, change: Callable[[dict[str, Any]], object]) -> str:
    """The document's text after a change."""
    document = json.loads(result.to_json())
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize("nodes", [1, 4, 31])
def test_a_document_is_read_back_as_written(make_result: Make, nodes: int) -> None:
    result = make_result(nodes=nodes)
    assert Result.from_json(result.to_json()) == result
    assert Result.from_json(result.to_json().encode()) == result


def test_what_is_unknown_is_absent_and_never_null(make_result: Make) -> None:
    result = make_result(lambda d: (d["arms"].pop("pooled"), d["privacy"].pop("epsilon_rdp")))
    assert "null" not in result.to_json()
    assert "pooled" not in json.loads(result.to_json())["arms"]
    assert Result.from_json(result.to_json()) == result


@pytest.mark.parametrize("version", [2, 0, "1", 1.0, True, None])
def test_a_version_that_this_code_does_not_know_is_refused(make_result: Make, version: object) -> None:
    with pytest.raises(UnknownVersion):
        Result.from_json(written(make_result(), lambda d: d.update(version=version)))


@pytest.mark.parametrize("text", ["", "{", "[]", "1", '{"study": {}}'])
def test_a_text_without_a_version_is_refused(text: str) -> None:
    with pytest.raises((ConfigError, UnknownVersion)):
        Result.from_json(text)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda d: d["arms"].update(central=None), "arms.central"),
        (lambda d: d["nodes"][2].update(name_zh=None), "nodes.2.name_zh"),
        (lambda d: d["privacy"].update(epsilon=None), "privacy.epsilon"),
    ],
)
def test_a_null_is_refused_by_its_place(
    make_result: Make, change: Callable[[dict[str, Any]], object], place: str
) -> None:
    with pytest.raises(ConfigError, match=place):
        Result.from_json(written(make_result(), change))


@pytest.mark.parametrize(
    ("change", "place"),
    [
        (lambda d: d.update(surprise=1), "surprise"),
        (lambda d: d["privacy"].update(epsilon="1.0"), "privacy.epsilon"),
        (lambda d: d["privacy"].update(epsilon=float("nan")), "privacy.epsilon"),
        (lambda d: d["privacy"].update(fallback_epsilon=float("inf")), "privacy.fallback_epsilon"),
        (lambda d: d["privacy"].update(delta=1.0), "privacy.delta"),
        (lambda d: d["privacy"].update(unit="record"), "privacy.unit"),
        (lambda d: d["privacy"].update(mode="telepathy"), "privacy.mode"),
        (lambda d: d["aggregation"].update(scheme="rot13"), "aggregation.scheme"),
        (lambda d: d["aggregation"].update(attempts=39), "attempts"),
        (lambda d: d["aggregation"].update(nodes=5), "nodes"),
        (lambda d: d["aggregation"].update(contributors=[["tibet"]]), "tibet"),
        (lambda d: d["arms"]["federated"].update(auc=1.2), "arms.federated.auc"),
        (lambda d: d["arms"]["federated"]["per_node"].update(tibet={}), "tibet"),
        (lambda d: d["arms"].pop("federated"), "arms: .*the arm federated"),
        (lambda d: d["nodes"].reverse(), "points"),
        (lambda d: d["nodes"][1].update(key="shanghai"), "keys"),
        (lambda d: d["seconds"].pop("total"), "total"),
        (lambda d: d.update(created="2026-03-14T09:26:53"), "time zone"),
        (lambda d: d.update(created="yesterday"), "isoformat"),
    ],
)
def test_a_document_with_a_fault_is_refused_by_its_place(
    make_result: Make, change: Callable[[dict[str, Any]], object], place: str
) -> None:
    with pytest.raises(ConfigError, match=place):
        Result.from_json(written(make_result(), change))


def test_all_faults_are_named_at_once(make_result: Make) -> None:
    text = written(make_result(), lambda d: (d["privacy"].update(delta=2.0), d["study"].pop("owner")))
    with pytest.raises(ConfigError) as caught:
        Result.from_json(text)
    assert "privacy.delta" in str(caught.value)
    assert "study.owner" in str(caught.value)


def test_a_refusal_shows_no_value(make_result: Make) -> None:
    text = written(make_result(), lambda d: d["study"].update(owner={"secret-value": 1}))
    with pytest.raises(ConfigError) as caught:
        Result.from_json(text)
    assert "secret-value" not in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_a_result_cannot_be_changed(make_result: Make) -> None:
    with pytest.raises(ValidationError):
        make_result().privacy.epsilon = 8.0


def test_the_worst_node_is_the_one_with_the_lowest_known_auc(make_result: Make) -> None:
    result = make_result(lambda d: d["arms"]["federated"]["per_node"]["shanghai"].pop("auc"))
    assert worst_node(result.arms.federated) == ("anhui", 0.806)


def test_without_any_auc_there_is_no_worst_node(make_result: Make) -> None:
    assert worst_node(make_result(lambda d: d["arms"]["federated"].pop("per_node")).arms.federated) is None
