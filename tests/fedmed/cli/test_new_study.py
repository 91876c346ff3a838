from __future__ import annotations

import json
from pathlib import Path

import pytest

from fedmed.cli.demo_study import DEMO_TRAINING
from fedmed.cli.edge import run
from fedmed.cli.study_file import parse_label
from fedmed.errors import ConfigError
from fedmed.study import load_study
from fedmed.types import FeatureKind, Label

HEART = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "heart_disease_4sites" / "heart.csv"

# Thirty persons with two rows each, at three sites; one column for every kind of proposal.
ROWS = [
    f"{site},p{site}{person},{20 + person},{person % 2},{['A', 'B'][person % 2]},"
    f"note {site}{person},{1000 * person - 500},{100 * person}"
    for site in ("North", "South East", "West")
    for person in range(30)
    for _ in range(2)
]
HEADER = "site,who,age,flag,group,note,balance,cost"


@pytest.fixture
def claims(tmp_path: Path) -> Path:
    path = tmp_path / "my claims.csv"
    path.write_text("\n".join([HEADER, *ROWS]) + "\n", encoding="utf-8")
    return path


def test_without_a_file_the_demonstration_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "demo.toml"
    assert run(["study", "new", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    text = path.read_text(encoding="utf-8")
    spec = load_study(text)
    assert spec.nodes == ("shanghai", "jiangsu", "zhejiang", "anhui")
    assert sum(spec.data.declared_persons.values()) == 80_000
    assert spec.privacy.clip_norm == DEMO_TRAINING["clip_norm"]
    assert spec.training.learning_rate == DEMO_TRAINING["learning_rate"]
    assert spec.training.aggregations == DEMO_TRAINING["aggregations"]
    assert "PUBLIC KNOWLEDGE" in text


def test_a_file_gives_a_proposal_that_loads(claims: Path, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    words = ["study", "new", "--data", str(claims), "--label", "cost>=1500", "--person", "who", str(path)]
    assert run(words) == 0
    spec = load_study(path.read_text(encoding="utf-8"))
    assert spec.id == "my_claims"
    assert spec.nodes == ("north", "south_east", "west")
    assert spec.data.declared_persons["north"] == 30
    assert spec.data.person == "who"
    assert spec.dataset_spec.label == Label(column="cost", at_least=1500.0)
    features = {feature.name: feature for feature in spec.dataset_spec.features}
    assert set(features) == {"age", "flag", "group", "balance"}
    assert features["group"].kind is FeatureKind.CATEGORY
    assert features["group"].categories == ("A", "B")
    assert (features["flag"].low, features["flag"].high) == (0.0, 1.0)


def test_proposed_bounds_are_round_and_wider_than_the_rows(claims: Path, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    run(["study", "new", "--data", str(claims), "--label", "cost>=1500", "--person", "who", str(path)])
    text = path.read_text(encoding="utf-8")
    features = {feature.name: feature for feature in load_study(text).dataset_spec.features}
    assert (features["age"].low, features["age"].high) == (0.0, 100.0)  # rows: 20 to 49
    assert (features["balance"].low, features["balance"].high) == (-1000.0, 50_000.0)  # -500 to 28,500
    assert "Replace every number" in text
    assert "left out, text with many values: note" in text


def test_without_a_person_column_every_row_is_a_person(claims: Path, tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    assert run(["study", "new", "--data", str(claims), "--label", "cost>=1500", str(path)]) == 0
    text = path.read_text(encoding="utf-8")
    assert load_study(text).data.person == "row_number"
    assert load_study(text).data.declared_persons["west"] == 60
    assert "every row is taken for one person" in text


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--label", "price>=2"], 2, "--label price: no such column"),
        (["--label", "cost>=much"], 2, "not a finite number"),
        (["--label", "cost>=2", "--person", "id"], 2, "--person id: no such column"),
        ([], 2, "--label is missing"),
        (["--label", "cost>=2", "--site-column", "sites"], 7, "did you mean site?"),
    ],
)
def test_a_wrong_column_is_refused_and_nothing_is_written(
    claims: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = claims.parent / "new.toml"
    assert run(["study", "new", "--data", str(claims), *words, str(path)]) == code
    assert said in capsys.readouterr().err
    assert not path.exists()


def test_two_sites_are_too_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "two.csv"
    data.write_text("site,x,y\na,1,0\na,2,1\nb,1,0\nb,3,1\n", encoding="utf-8")
    assert run(["study", "new", "--data", str(data), "--label", "y", str(tmp_path / "o.toml")]) == 2
    assert "needs 3 to 400 nodes, got 2" in capsys.readouterr().err


def test_an_existing_file_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "demo.toml"
    path.write_text("mine", encoding="utf-8")
    assert run(["study", "new", str(path)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert path.read_text(encoding="utf-8") == "mine"


def test_a_column_name_with_quotes_survives(tmp_path: Path) -> None:
    data = tmp_path / "odd.csv"
    rows = [f"{s},{i},{i % 2}" for s in ("a", "b", "c") for i in range(9)]
    data.write_text('site,"a ""quoted"" \\ name",y\n' + "\n".join(rows), encoding="utf-8")
    path = tmp_path / "odd.toml"
    assert run(["study", "new", "--data", str(data), "--label", "y", str(path)]) == 0
    spec = load_study(path.read_text(encoding="utf-8"))
    assert spec.dataset_spec.features[0].name == 'a "quoted" \\ name'


def test_json_names_the_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "demo.toml"
    assert run(["study", "new", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"study_file": str(path)}


def test_labels_are_read() -> None:
    assert parse_label("died") == Label(column="died")
    assert parse_label(" cost >= 2e4 ") == Label(column="cost", at_least=20_000.0)
    for wrong in ("", ">=3", "cost>=nan"):
        with pytest.raises(ConfigError):
            parse_label(wrong)


@pytest.mark.slow
@pytest.mark.skipif(not HEART.exists(), reason="needs ../shared/data/heart_disease_4sites/heart.csv")
def test_four_hospitals_give_a_study_that_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "heart.toml"
    assert run(["study", "new", "--data", str(HEART), "--label", "num>=1", str(path)]) == 0
    capsys.readouterr()
    assert run(["study", "check", str(path), "--data", str(HEART), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert set(document["data"]) == {"cleveland", "hungarian", "switzerland", "va"}
