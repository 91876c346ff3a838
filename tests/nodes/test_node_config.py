"""The operator's two files: templates that load, faults that name the key, and nothing silently read."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest

from fedmed.data.feature_sets import definition
from fedmed.data.feature_sets.compile import Derivation
from fedmed.data.feature_sets.definition import packaged_feature_set
from fedmed.data.feature_sets.stays import StayDerivation, StayTable
from fedmed.data.nhsa.schema import Grade
from fedmed.errors import ConfigError
from fedmed.governance.operators import Operators
from fedmed.governance.policy import AutoApprove, Policy
from fedmed.types import Mode, Scheme
from fedmed_nodes.claims_source import ClaimFiles
from fedmed_nodes.duckdb_source import DuckdbFiles
from fedmed_nodes.node_config import NODE_TEMPLATE, POLICY_TEMPLATE, load_node, load_policy, socket_of
from fedmed_nodes.postgres_source import PostgresTable
from tests.operator_acts import operator


def written(folder: Path, text: str) -> Path:
    path = folder / "file.toml"
    path.write_text(text)
    return path


def test_the_templates_load_as_they_are(tmp_path: Path) -> None:
    node = load_node(written(tmp_path, NODE_TEMPLATE.format(user='"fedmed"')))
    assert (node.user, node.roster_digest, node.dataset) == ("fedmed", "", ())
    assert socket_of(node, tmp_path) == tmp_path / "run" / "custodian.sock"
    policy = load_policy(written(tmp_path, POLICY_TEMPLATE))
    assert policy == Policy(max_epsilon_per_study=1.0, max_epsilon_per_year=2.0)


def test_all_that_the_templates_explain_can_be_set(tmp_path: Path) -> None:
    def uncommented(text: str) -> str:
        lines = [
            line.removeprefix("# ") if " = " in line or line.startswith("# [") else line
            for line in text.split("\n")
        ]
        return "\n".join(lines)

    node = load_node(written(tmp_path, uncommented(NODE_TEMPLATE.format(user='"fedmed"'))))
    assert (node.socket.group, node.dataset[0].data_year) == ("fedmed", 2025)
    files, claims, stays, database = (dataset.entry(tmp_path).stored_table for dataset in node.dataset)
    assert isinstance(files, DuckdbFiles)
    assert database == PostgresTable(connection_file=tmp_path / "settlements.conn", table="settlement")
    assert files.pattern.name == "person_year.parquet"
    assert isinstance(claims, ClaimFiles)
    assert claims.derivation == Derivation(features=packaged_feature_set(), year=2025, regions=("310000",))
    assert isinstance(stays, ClaimFiles)
    assert stays.derivation == StayDerivation(
        table=StayTable.STAY, year=2024, last_day=datetime.date(2025, 12, 31), regions=("310000",)
    )
    assert node.dataset[0].column_grades == {"age": Grade.SENSITIVE}
    text = uncommented(POLICY_TEMPLATE)
    for name in ("li.wei", "wang.fang"):
        key = operator(name).public.signing_key.hex()
        text = text.replace(f'"{name}" = "..."', f'"{name}" = "{key}"')
    policy = load_policy(written(tmp_path, text))
    assert policy.operators == Operators(
        keys={name: operator(name).public.signing_key for name in ("li.wei", "wang.fang")}, approvals_needed=2
    )
    assert policy.auto_approve == AutoApprove(
        max_epsilon=0.2,
        purposes=frozenset({"supervision"}),
        modes=frozenset({Mode.AGGREGATE}),
        owners=frozenset({"National Healthcare Security Administration"}),
    )
    assert (policy.expires, policy.min_threshold) == (datetime.date(2027, 12, 31), 3)
    assert policy.grades == frozenset({Grade.PUBLIC, Grade.INTERNAL, Grade.SENSITIVE})
    assert (policy.denied_columns, policy.schemes) == ({"brdy"}, {Scheme.THRESHOLD})


def test_a_derived_dataset_reads_its_feature_set_and_grades_what_it_gives(tmp_path: Path) -> None:
    text = Path(definition.__file__).with_name("person_year.toml").read_text(encoding="utf-8")
    (tmp_path / "mine.toml").write_text(text.replace('version = "1.1"', 'version = "mine"'), encoding="utf-8")
    lines = (
        "[[dataset]]", 'name = "a"', "declared_persons = 9", "data_year = 2025", 'features = "mine.toml"',
        'claims = "claims"', 'regions = ["310000"]', 'columns = ["psn_no", "age"]',
    )  # fmt: skip
    dataset = load_node(written(tmp_path, "\n".join(('version = 1\nuser = "u"', *lines)))).dataset[0]
    assert dataset.column_grades == {"psn_no": Grade.RESTRICTED, "age": Grade.SENSITIVE}
    found = dataset.entry(tmp_path)
    assert found.claims == tmp_path / "claims"
    assert found.feature_set.startswith("person_year@")
    assert found.feature_set != packaged_feature_set().reference
    (tmp_path / "mine.toml").unlink()
    with pytest.raises(ConfigError, match="cannot read"):
        dataset.entry(tmp_path)


@pytest.mark.parametrize("line", ["features = 'stay'", "features = 'person_year'\nlast_day = 2025-12-31"])
def test_stays_have_a_last_day_and_nothing_else_has(tmp_path: Path, line: str) -> None:
    table = "[[dataset]]\nname = 'a'\ndeclared_persons = 9\ndata_year = 2025\nclaims = 'c'\n"
    text = f"version = 1\nuser = 'u'\n{table}regions = ['310000']\n{line}"
    with pytest.raises(ConfigError, match="last_day and features stay or first_stay go together"):
        load_node(written(tmp_path, text))


def test_quality_settings_without_claims_are_refused(tmp_path: Path) -> None:
    table = "[[dataset]]\nname = 'a'\npath = 'a.csv'\ndeclared_persons = 9\ndata_year = 2025\n"
    text = f"version = 1\nuser = 'u'\n{table}quality_settings = 'own.toml'\n"
    with pytest.raises(ConfigError, match="quality_settings is for claims"):
        load_node(written(tmp_path, text))
    (dataset,) = load_node(written(tmp_path, f"{text}claims = 'c'\n")).dataset
    assert dataset.quality_settings == "own.toml"


def test_a_table_of_the_schema_brings_its_grades_and_the_operators_go_first(tmp_path: Path) -> None:
    table = (
        "[[dataset]]\nname = 'psn_insu'\npath = 'a.csv'\ndeclared_persons = 5\ndata_year = 2025\n"
        "grades = { gend = 'restricted' }\n"
    )
    (dataset,) = load_node(written(tmp_path, f"version = 1\nuser = 'x'\n{table}")).dataset
    assert dataset.column_grades["gend"] is Grade.RESTRICTED
    assert dataset.column_grades["brdy"] is Grade.SENSITIVE


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("max_epsilon_per_yaer = 2.0", "did you mean max_epsilon_per_year?"),
        ("seed = 1", "unknown key"),
        ('schemes = ["plian"]', "schemes"),
        ("min_contributors = 2", "min_contributors: must be >= 3"),
        ("research = 1", "research"),
        ("max_epsilon_per_study = 3.0", "must be <= the year's"),
        ('purposes = ["fun"]', "purposes: unknown fun"),
        ('grades = ["secret"]', "grades"),
        ("allow_ungraded = true", "allow_ungraded needs grades"),
        ('expires = "soon"', "expires"),
        ("auto_approve = 1", "auto_approve"),
        ("auto_approve_if = { max_epsilon = 0.1, owner = 'x' }", "did you mean owners?"),
        ("auto_approve_if = { max_epsilon = 0 }", "auto_approve_if.max_epsilon: must be > 0"),
        ("auto_approve_if = { max_epsilon = 1 }\nauto_approve = true", "auto_approve = true approves"),
        ("operators = { approvals_needed = 1, keys = { a = 'AB' } }", "operators.keys"),
        ("operators = { approvals_needed = 2, keys = { a = '%s' } }" % ("1" * 64), "approvals_needed"),
        ("operators = { approvals_needed = 1, keys = { } }", "operators must list 1 to 64 keys"),
    ],
)
def test_a_fault_in_the_policy_names_its_key(tmp_path: Path, line: str, said: str) -> None:
    values = {"version": "1", "max_epsilon_per_study": "1.0", "max_epsilon_per_year": "2.0"}
    key, _, value = line.partition(" = ")
    values[key] = value
    text = "\n".join(f"{k} = {v}" for k, v in values.items())
    with pytest.raises(ConfigError) as fault:
        load_policy(written(tmp_path, text))
    assert said in str(fault.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 2\nuser = 'x'", "version"),
        ("version = 1", "user: is missing"),
        ("version = 1\nuser = 'x'\nroster_digest = 'AB'", "roster_digest"),
        ("version = 1\nuser = 'x'\n[socket]\npath = 'run/c.sock'", "socket.path"),
        ("version = 1\nuser = 'x'\n[socket]\ngruop = 'g'", "did you mean group?"),
        ("version = ", "not TOML"),
    ],
)
def test_a_fault_in_the_nodes_settings_names_its_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as fault:
        load_node(written(tmp_path, text))
    assert said in str(fault.value)


def test_two_datasets_of_one_name_are_refused(tmp_path: Path) -> None:
    table = "[[dataset]]\nname = 'a'\npath = 'a.csv'\ndeclared_persons = 5\ndata_year = 2025\n"
    with pytest.raises(ConfigError, match="stands there twice"):
        load_node(written(tmp_path, f"version = 1\nuser = 'x'\n{table}{table}"))
    with pytest.raises(ConfigError, match="fedmed node init"):
        load_node(tmp_path / "missing.toml")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("path = 'a.txt'", "kind: a.txt does not say what it is"),
        ("kind = 'cvs'\npath = 'a.csv'", "kind: must be one of"),
        ("", "path must name"),
        ("path = ''", "path: must be"),
        ("path = 'a.csv'\ntable = 't'", "are for kind postgresql"),
        ("kind = 'postgresql'\ntable = 't'", "connection_file must name"),
        ("kind = 'postgresql'\nconnection_file = 'c'", "table must name"),
        ("kind = 'postgresql'\nconnection_file = 'c'\ntable = 't'\npath = 'a.csv'", "path is for files"),
        ("kind = 'postgresql'\nconnection_file = 'c'\ntable = 't'\nschem = 's'", "did you mean schema?"),
        ("path = 'a.csv'\nfingerprint = 'AB'", "fingerprint"),
        (f"path = 'a.csv'\nfingerprint = '{'0' * 64}'", "fingerprint needs its columns"),
        ("path = 'a.csv'\ncolumns = ['x', 'y', 'x']", "columns must differ, x stands there twice"),
        ("path = 'a.csv'\nmemory_mib = 1", "memory_mib: must be >= 64"),
        ("path = 'a.csv'\nthreads = 0", "threads: must be >= 1"),
    ],
)
def test_a_fault_in_a_dataset_names_its_key(tmp_path: Path, lines: str, said: str) -> None:
    table = f"[[dataset]]\nname = 'a'\ndeclared_persons = 5\ndata_year = 2025\n{lines}\n"
    with pytest.raises(ConfigError) as fault:
        load_node(written(tmp_path, f"version = 1\nuser = 'x'\n{table}"))
    assert said in str(fault.value)


def test_relative_paths_count_from_the_home(tmp_path: Path) -> None:
    table = "[[dataset]]\nname = 'a'\ndeclared_persons = 5\ndata_year = 2025\npath = '{}'\n"
    for path, found in (("rows/*.csv", tmp_path / "rows" / "*.csv"), ("/srv/a.csv", Path("/srv/a.csv"))):
        node = load_node(written(tmp_path, f"version = 1\nuser = 'x'\n{table.format(path)}"))
        assert node.dataset[0].entry(tmp_path).path == found
