"""What a node's table must hold, and the real four-hospital table through readers and features."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fedmed.data.checks import check_table, check_tables
from fedmed.data.features import examples
from fedmed.data.tables import read_table, split_by_site
from fedmed.errors import DataContractError
from fedmed.types import DatasetSpec, Feature, FeatureKind, Label

HEART = Path(__file__).resolve().parents[3].parent / "shared" / "data" / "heart_disease_4sites" / "heart.csv"


def number(name, low=0.0, high=10.0):
    return Feature(name=name, kind=FeatureKind.NUMBER, low=low, high=high)


def category(name, *categories):
    return Feature(name=name, kind=FeatureKind.CATEGORY, categories=categories)


CODES = Feature(name="codes", kind=FeatureKind.CODES, vocabulary_size=4)
SPEC = DatasetSpec(
    name="t", person="id", label=Label(column="y"), features=(number("visits"), category("sex", "1"), CODES)
)
GOOD = {
    "id": ["secret-a", "secret-b", "secret-b"],
    "visits": [1.0, None, float("nan")],
    "sex": ["1", "2", None],
    "codes": [[0], [], [1, 3]],
    "y": [0, 1, 1],
}


def refusal(columns, spec=SPEC, site="anhui"):
    with pytest.raises(DataContractError) as caught:
        check_table(pa.table(columns), spec, site=site)
    assert str(caught.value).startswith(f"{site}: ")
    assert "secret" not in str(caught.value)
    return str(caught.value)


def test_a_fit_table_passes_and_missing_numbers_are_zero():
    check_table(pa.table(GOOD), SPEC, site="anhui")
    assert examples(pa.table(GOOD), SPEC, part="all").dense[:, 0].tolist() == pytest.approx([-0.8, 0, 0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": ["secret-a", None, "b"]}, "column id: 1 of 3 rows have no pseudonym"),
        ({"id": ["a", "a", "a"]}, "column id names one person only"),
        ({"visits": ["1", "many", "secret"]}, "column visits: 2 of 3 values are not numbers"),
        ({"visits": [1.0, float("inf"), 2.0]}, "column visits: 1 of 3 values are infinite"),
        ({"sex": [["1"], ["2"], []]}, "a category must be plain"),
        ({"codes": [[0], [4], [70]]}, "column codes: 2 codes lie outside 0..3"),
        ({"y": [0, 0, 0]}, "label y has one class only at this site"),
        ({"y": [0, 1, 2]}, "label y: 1 of 3 values are neither 0 nor 1"),
        ({"y": [0, 1, None]}, "label y: 1 of 3 rows have no value"),
        ({"psn_name": ["secret", "secret", "secret"]}, "column psn_name identifies persons directly"),
    ],
)
def test_an_unfit_table_is_refused_with_site_column_and_count(change, message):
    assert message in refusal(GOOD | change)


def test_a_missing_column_is_refused_with_the_nearest_name():
    columns = {("visit" if name == "visits" else name): values for name, values in GOOD.items()}
    assert "column visits is missing; did you mean visit?" in refusal(columns)
    del columns["visit"]
    assert "column visits is missing; add it, or correct its name" in refusal(columns)


def test_doubled_columns_and_empty_tables_are_refused():
    doubled = pa.Table.from_arrays(
        [pa.array(v) for v in (*GOOD.values(), [1, 2, 3])], names=[*GOOD, "visits"]
    )
    with pytest.raises(DataContractError, match="anhui: column visits occurs more than once"):
        check_table(doubled, SPEC, site="anhui")
    with pytest.raises(DataContractError, match="anhui: the table has no rows"):
        check_table(pa.table(GOOD).slice(0, 0), SPEC, site="anhui")


def test_a_threshold_that_nobody_reaches_is_refused():
    spec = DatasetSpec(
        name="t", person="id", label=Label(column="visits", at_least=9.0), features=(category("sex", "1"),)
    )
    assert "one class only" in refusal(GOOD | {"visits": [1.0, 2.0, 3.0]}, spec)


def test_all_sites_are_reported_at_once():
    tables = {"anhui": GOOD | {"y": [0, 0, 0]}, "jiangsu": GOOD, "zhejiang": GOOD | {"id": ["a"] * 3}}
    with pytest.raises(DataContractError) as caught:
        check_tables({site: pa.table(columns) for site, columns in tables.items()}, SPEC)
    lines = str(caught.value).splitlines()
    assert [line.split(":")[0] for line in lines] == ["anhui", "zhejiang"]


def heart_spec():
    return DatasetSpec(
        name="heart",
        person="patient",
        label=Label(column="num", at_least=1),
        features=(
            number("age", 20, 90),
            category("sex", "1"),
            category("cp", "1", "2", "3", "4"),
            number("trestbps", 80, 200),
            number("chol", 0, 600),
            category("restecg", "0", "1", "2"),
            number("thalach", 60, 210),
            category("exang", "1"),
            number("oldpeak", -3, 7),
        ),
    )


@pytest.mark.skipif(
    not HEART.is_file(),
    reason=f"needs the four-hospital heart table at {HEART.name}: put "
    "heart_disease_4sites/heart.csv under ../shared/data beside the repository",
)
def test_the_four_hospitals_pass_through_readers_checks_and_features():
    table = read_table(HEART)
    table = table.append_column("patient", pa.array([f"p{i}" for i in range(table.num_rows)]))
    sites = split_by_site(table, "site")
    assert {s: t.num_rows for s, t in sites.items()} == {
        "cleveland": 303,
        "hungarian": 294,
        "switzerland": 123,
        "va": 200,
    }
    check_tables(sites, heart_spec())
    positives = {}
    for site, part in sites.items():
        found = examples(part, heart_spec(), part="all")
        positives[site] = int(found.labels.sum())
        assert found.dense.dtype == np.float32
        assert np.abs(found.dense).max() <= 1
        # Categories written 1.0 in the file meet categories written 1 in the study.
        assert found.dense[:, 2:6].sum() == part.num_rows - pc.is_null(part["cp"]).to_numpy().sum()
    assert positives == {"cleveland": 139, "hungarian": 106, "switzerland": 115, "va": 149}
