from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedmed.cli.check import check_document
from fedmed.cli.edge import run
from fedmed.study import canonical_bytes, load_study, study_digest
from tests.small_province import small_study
from tests.small_question import small_question


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("check") / "study.toml"
    assert run(["study", "new", str(path)]) == 0
    return path.read_text(encoding="utf-8")


@pytest.fixture
def study(template: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(template, encoding="utf-8")
    capsys.readouterr()
    return path


def checked(path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, float]]:
    assert run(["study", "check", str(path), "--json"]) == 0
    document: dict[str, dict[str, float]] = json.loads(capsys.readouterr().out)
    return document


@pytest.mark.slow
def test_privacy_layout_bytes_and_readers_are_shown(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    document = checked(study, capsys)
    spec = load_study(study.read_text(encoding="utf-8"))
    assert document["study"]["digest"] == study_digest(canonical_bytes(spec)).hex()
    privacy = document["privacy"]
    assert privacy["releases"] == 42  # 40 aggregations and 2 spare attempts
    assert 0.9 < privacy["epsilon_of_plan"] <= privacy["epsilon"] == 1.0
    assert privacy["fallback_epsilon"] > privacy["epsilon"]
    assert privacy["epsilon_rdp"] > privacy["epsilon_of_plan"]
    assert (privacy["threshold"], privacy["dropouts"], privacy["colluders"]) == (3, 1, 1)
    layout = document["layout"]
    assert layout["values"] == spec.dataset_spec.inputs + 1
    assert layout["fields"] * layout["field_bits"] <= 140
    assert 5.6 <= layout["bytes_per_value"] <= 9.4
    assert document["who_can_decrypt"][0]["who"] == "coordinator"  # type: ignore[index]


@pytest.mark.slow
def test_more_aggregations_move_more_bytes_and_need_more_noise(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = study.read_text(encoding="utf-8")
    more = study.with_name("more.toml")
    more.write_text(text.replace("aggregations = 40", "aggregations = 80"), encoding="utf-8")
    few, many = checked(study, capsys), checked(more, capsys)
    assert many["bytes_per_node"]["rounds_up"] > 1.9 * few["bytes_per_node"]["rounds_up"]
    assert many["privacy"]["noise_multiplier"] > few["privacy"]["noise_multiplier"]


def test_plain_says_that_the_coordinator_sees_uploads(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = study.read_text(encoding="utf-8").replace('scheme = "threshold"', 'scheme = "plain"')
    study.write_text(text, encoding="utf-8")
    document = checked(study, capsys)
    assert document["bytes_per_node"]["ceremony_up"] == 0
    assert "every upload" in document["who_can_decrypt"][0]["what"]  # type: ignore[index]


@pytest.mark.slow
def test_ckks_says_that_every_province_holds_the_key(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = study.read_text(encoding="utf-8").replace('scheme = "threshold"', 'scheme = "ckks"')
    threshold = checked(study, capsys)
    study.write_text(text, encoding="utf-8")
    document = checked(study, capsys)
    told = {row["who"]: row["what"] for row in document["who_can_decrypt"]}  # type: ignore[index]
    assert "no upload singly" in told["coordinator"]
    assert told["coordinator with any one province"].startswith("every upload")
    assert "it holds the key" in told["any province"]
    assert "every noisy sum" in told["any province"]
    assert 0 < document["bytes_per_node"]["ceremony_up"] < threshold["bytes_per_node"]["ceremony_up"]
    assert document["bytes_per_node"]["rounds_down"] > threshold["bytes_per_node"]["rounds_down"]


def test_people_get_tables(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["study", "check", str(study)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("fallback epsilon", "who can decrypt", "rounds up", "disk bytes per node"):
        assert words in shown


def test_an_unknown_key_ends_with_2_and_names_the_right_one(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study.write_text(study.read_text(encoding="utf-8").replace("clip_norm =", "clipnorm ="), encoding="utf-8")
    assert run(["study", "check", str(study)]) == 2
    assert "did you mean clip_norm?" in capsys.readouterr().err


def test_rows_of_other_sites_end_with_7(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = study.with_name("rows.csv")
    data.write_text("site,psn_no\na,1\nb,2\nc,3\n", encoding="utf-8")
    assert run(["study", "check", str(study), "--data", str(data)]) == 7
    assert "the study's nodes are shanghai" in capsys.readouterr().err


def test_a_year_holds_more_studies_than_its_cap_over_epsilon(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["study", "check", str(study), "--cap", "2", "--json"]) == 0
    composition = json.loads(capsys.readouterr().out)["composition"]
    assert composition["cap_a_year"] == 2
    assert composition["such_studies_a_year"] >= 3
    assert composition["counted_for_the_year"].startswith("one after the other")
    assert composition["epsilon_of_a_person_at_two_nodes"] > 2


@pytest.mark.slow
def test_an_evaluation_is_shown_as_a_stage_of_its_own(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = study.read_text(encoding="utf-8").replace("[report]", "[report]\nevaluation_epsilon = 0.3")
    study.write_text(text, encoding="utf-8")
    document = checked(study, capsys)
    assert 0.29 < document["composition"]["epsilon_of_evaluation"] <= 0.3
    assert document["composition"]["epsilon_of_training"] < document["privacy"]["epsilon_of_plan"]


@pytest.mark.slow
def test_local_steps_are_shown_with_those_that_all_homes_charge() -> None:
    steps = {"local__steps": 3, "local__sample_rate": 0.5}
    shown = check_document(small_study(privacy__mode="local", **steps))["privacy"]  # type: ignore[arg-type]
    assert isinstance(shown, dict)
    assert (shown["local_steps"], shown["charged_steps"], shown["sample_rate"]) == (3, 3, 0.5)
    assert shown["fallback_epsilon"] == shown["epsilon_of_plan"]


def test_the_check_of_an_exact_question_names_no_epsilon() -> None:
    told = check_document(small_question(aggregation__scheme="threshold"))
    privacy = told["privacy"]
    assert isinstance(privacy, dict)
    assert not {"epsilon", "delta", "fallback_epsilon"} & set(privacy)
    assert "exact" in privacy["protection"]
    assert "planned epsilon" not in str(told["who_can_decrypt"])
