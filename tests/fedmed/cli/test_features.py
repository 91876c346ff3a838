"""``fedmed data features`` as its user types it; OMOP by way of ``fedmed data import-omop``."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from fedmed.cli.app import app
from fedmed.cli.features_page import features_sheet
from fedmed.data.feature_sets import definition
from fedmed.data.feature_sets.definition import packaged_feature_set
from fedmed.data.feature_sets.derive import stated
from fedmed.report.sheet import render_sheet
from fedmed.study import as_training, load_study
from tests.claims_tables import write_tables
from tests.derived_claims import YEAR, province

OMOP = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "omop_synthea27"
SET = packaged_feature_set()


def run(*arguments: object) -> str:
    """Standard output of a command that succeeds."""
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def fails(*arguments: object) -> str:
    """What a command says that is refused."""
    done = CliRunner().invoke(app, [str(one) for one in arguments])
    assert done.exit_code != 0
    return f"{done.output}{done.exception}"


def test_the_set_is_shown_with_its_digest() -> None:
    shown = run("data", "features")
    assert f"feature_set = {SET.reference}" in shown
    assert all(name in shown for name in SET.columns[1:])
    document = json.loads(run("data", "features", "--json"))
    assert document["reference"] == SET.reference
    assert [one["name"] for one in document["outcomes"]] == [one.name for one in SET.outcomes]


def test_the_page_of_the_set_has_every_column_and_word() -> None:
    page = render_sheet(features_sheet(SET))
    assert all(f">{name}<" in page for name in SET.columns[1:])
    assert "XS155" in page
    assert SET.digest.hex() in page.replace(" ", "")


def test_a_file_may_define_another_set(tmp_path: Path) -> None:
    text = Path(definition.__file__).with_name("person_year.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace('name = "person_year"', 'name = "mine"', 1))
    assert "feature_set = mine@" in run("data", "features", "--set", tmp_path / "mine.toml")
    assert "TOML file" in fails("data", "features", "--set", tmp_path / "none.toml")


@pytest.mark.slow
def test_what_is_missing_is_said_before_anything_is_read(tmp_path: Path) -> None:
    assert "name the folder" in fails("data", "features", "--year", 2024)
    assert "--year and --out" in fails("data", "features", tmp_path)
    assert "no claims there" in fails("data", "features", tmp_path, "--year", 2024, "--out", tmp_path / "x")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "setl.csv").write_text("setl_id\n")
    text = fails("data", "features", tmp_path / "a", "--year", 2024, "--out", tmp_path / "x")
    assert "--region is missing" in text
    named = ("--region", "a=310000", "--region", "b=320000")
    assert "no province 'b'" in fails("data", "features", tmp_path, "--year", 2024, "--out", "x", *named)


@pytest.mark.slow
def test_several_provinces_give_one_file_and_a_study_that_runs_on_it(tmp_path: Path) -> None:
    tables = {name: rows for name, rows in province().items() if name in SET.needs}
    names = ("hu", "su", "zhe")
    for name in names:
        write_tables(tmp_path / "claims" / name, tables)
    rows, study = tmp_path / "rows.parquet", tmp_path / "study.toml"
    regions = [word for name in names for word in ("--region", f"{name}=310000")]
    told = json.loads(
        run(
            "data", "features", tmp_path / "claims", "--year", YEAR, *regions, "--out", rows,
            "--study", study, "--label", "next_cost>=1000", "--json",
        )
    )  # fmt: skip
    assert told["feature_set"] == SET.reference
    assert set(told["persons"]) == set(names)
    table = pq.read_table(rows)
    assert table.column_names == ["site", *SET.columns]
    assert stated(table) == SET.reference
    spec = as_training(load_study(study.read_text(encoding="utf-8")))
    assert spec.data.feature_set == SET.reference
    assert spec.dataset_spec.inputs == 491
    assert all(spec.data.declared_persons[name] >= int(told["persons"][name]) for name in names)
    again = ("--year", YEAR, *regions, "--out", rows)
    assert "exists" in fails("data", "features", tmp_path / "claims", *again)
    rows.unlink()
    (tmp_path / "claims" / "zhe" / "psn_insu.parquet").unlink()
    assert "psn_insu" in fails("data", "features", tmp_path / "claims", *again)
    assert {path.name for path in tmp_path.iterdir()} == {"claims", "study.toml"}, "a file is whole or absent"


@pytest.mark.slow
@pytest.mark.skipif(
    not OMOP.is_dir(), reason="put the OMOP fixture beside the checkout: shared/data/omop_synthea27"
)
def test_the_same_study_runs_on_omop_tables_by_way_of_the_mapping(tmp_path: Path) -> None:
    run("data", "import-omop", OMOP, "--out", tmp_path / "claims", "--region", "310000")
    rows, study = tmp_path / "rows.parquet", tmp_path / "study.toml"
    run(
        "data", "features", tmp_path / "claims", "--year", 2016, "--region", "310000", "--out", rows,
    )  # fmt: skip
    whole = pq.read_table(rows).sort_by("next_visits")
    assert whole.num_rows > 20
    assert sum(whole["next_visits"].to_pylist()) > 20
    # Twenty-eight people are one node's; three sites of them show that the study's program runs.
    sites = pa.array([("a", "b", "c")[i % 3] for i in range(whole.num_rows)])
    pq.write_table(whole.append_column("site", sites), rows)
    study.write_text(_study_of(whole.num_rows), encoding="utf-8")
    document = json.loads(run("study", "run", study, "--data", rows, "--out", tmp_path / "runs", "--json"))
    assert document["study"]["id"] == "omop"
    assert document["aggregation"]["aggregations"] == 2


def _study_of(persons: int) -> str:
    """A study of visits in the next year with the feature set's own columns."""
    from fedmed.cli.study_file import derived_text
    from fedmed.types import Label

    declared = dict.fromkeys("abc", persons // 3 + 1)
    label = Label(column="next_visits", at_least=3)
    text = derived_text(SET, label=label, declared=declared, expires="2099-12-31")
    for old, new in (
        ('id = "person-year"', 'id = "omop"'),
        ("min_cohort = 100", "min_cohort = 5"),
        ("aggregations = 40", "aggregations = 2"),
        ('scheme = "threshold"', 'scheme = "plain"'),
        ("baselines = true", "baselines = false"),
    ):
        assert old in text
        text = text.replace(old, new)
    return text
