"""The same rows from CSV, Parquet and PostgreSQL; ``FEDMED_TEST_POSTGRES`` connects as a superuser."""

import dataclasses
import datetime
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from psycopg import conninfo, sql

from fedmed.data.feature_sets.compile import Derivation
from fedmed.data.feature_sets.definition import packaged_feature_set
from fedmed.data.feature_sets.derive import open_derived
from fedmed.data.feature_sets.stays import StayDerivation, StayTable, stays_reference
from fedmed.data.nhsa.schema import Column, Kind, schema
from fedmed.errors import ConfigError, DataContractError, StudyRefused
from fedmed.protocol.schedule import schedule_for
from fedmed.types import DatasetSpec, Label
from fedmed_nodes.answers.by_kind import half_for
from fedmed_nodes.home import Home
from fedmed_nodes.register_desk import register_dataset
from fedmed_nodes.registration import DatasetEntry, open_source, read_through, register
from fedmed_nodes.sources import TableSource
from fedmed_nodes.study_desk import check_feature_set
from tests.claims_tables import Tables, write_tables
from tests.contracts.source_contract import as_bytes
from tests.derived_claims import YEAR, province
from tests.node_home import make_home, me, write
from tests.small_question import Entry, small_question

SERVER = os.environ.get("FEDMED_TEST_POSTGRES", "")
needs_server = pytest.mark.skipif(
    not SERVER,
    reason="set FEDMED_TEST_POSTGRES to the connection string of a PostgreSQL superuser; .ci/run starts one",
)
SET = packaged_feature_set()
HOME = Derivation(features=SET, year=YEAR, regions=("310000",))
SPEC = DatasetSpec(
    name="person_year",
    person="psn_no",
    label=Label(column="next_cost", at_least=1_000),
    features=tuple(one.feature for one in SET.features),
    held_out=0.3,
)
KINDS = {
    Kind.TEXT: "text",
    Kind.INTEGER: "integer",
    Kind.DATE: "date",
    Kind.TIME: "timestamp",
    Kind.MONTH: "text",
}


def read_tables() -> Tables:
    """The tables that the feature set reads."""
    return {name: rows for name, rows in province().items() if name in SET.needs}


def entry(folder: Path) -> DatasetEntry:
    return DatasetEntry(claims=folder, derivation=HOME, declared_persons=60, data_year=YEAR)


def served(dataset: DatasetEntry) -> tuple[bytes, ...]:
    return as_bytes(open_source(register(dataset)).training_examples(SPEC))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tables(tmp_path_factory.mktemp("claims"), read_tables())


@pytest.fixture
def database(tmp_path: Path) -> Iterator[DatasetEntry]:
    """The claims in a schema of their own on the test server, for a role that may read them."""
    name, home = f"claims_{secrets.token_hex(6)}", tmp_path / "home"
    home.mkdir(mode=0o700)
    file = home / "connection"
    file.write_text(conninfo.make_conninfo(SERVER, user=name))
    file.chmod(0o600)
    with psycopg.connect(SERVER, autocommit=True) as connection:
        role = sql.Identifier(name)
        connection.execute(sql.SQL("CREATE SCHEMA {0}; CREATE ROLE {0} LOGIN").format(role))
        try:
            for table, rows in read_tables().items():
                _load(connection, sql.Identifier(name, table), table, rows)
            grant = "GRANT USAGE ON SCHEMA {0} TO {0}; GRANT SELECT ON ALL TABLES IN SCHEMA {0} TO {0}"
            connection.execute(sql.SQL(grant).format(role))
            yield dataclasses.replace(entry(tmp_path), claims=None, connection_file=file, schema=name)
        finally:
            connection.execute(sql.SQL("DROP SCHEMA {0} CASCADE; DROP ROLE {0}").format(role))


def _load(
    connection: psycopg.Connection, at: sql.Identifier, table: str, rows: list[dict[str, object]]
) -> None:
    columns = [column for column in schema().table(table).columns if column.name in rows[0]]
    fields = sql.SQL(", ").join(
        sql.SQL("{} " + _kind(column)).format(sql.Identifier(column.name))  # type: ignore[arg-type]
        for column in columns
    )
    connection.execute(sql.SQL("CREATE TABLE {} ({})").format(at, fields))
    with connection.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(at)) as copy:
        for row in rows:
            copy.write_row([row[column.name] for column in columns])


def _kind(column: Column) -> str:
    return KINDS.get(column.kind, f"numeric({column.size},{column.scale})")


@pytest.mark.slow
def test_csv_and_parquet_give_equal_examples_bit_by_bit(files: Path, tmp_path: Path) -> None:
    backwards = {name: rows[::-1] for name, rows in read_tables().items()}
    as_csv = write_tables(tmp_path / "csv", backwards, as_csv=True)
    due = served(entry(files))
    assert served(entry(as_csv)) == due
    with open_derived(files, HOME, memory_mib=256, threads=1) as derived:
        table = pa.concat_tables(derived.chunks(derived.columns))
    source = TableSource(table, declared_persons=60, data_year=YEAR)
    assert as_bytes(source.training_examples(SPEC)) == due


@needs_server
@pytest.mark.slow
def test_postgresql_gives_the_examples_of_files_bit_by_bit(files: Path, database: DatasetEntry) -> None:
    assert register(database).fingerprint == register(entry(files)).fingerprint
    assert served(database) == served(entry(files))


@needs_server
@pytest.mark.slow
def test_a_statistics_study_has_equal_results_on_csv_parquet_and_postgresql(
    files: Path, database: DatasetEntry, tmp_path: Path
) -> None:
    as_csv = write_tables(tmp_path / "csv", read_tables(), as_csv=True)
    by = [{"column": "sex", "levels": ["1", "2"]}]
    value = {"column": "next_cost", "low": 0, "high": 50_000, "decimals": 2}
    cost: Entry = {"name": "cost", "kind": "sum", "value": value, "by": by}
    persons: Entry = {"name": "persons", "kind": "count", "unit": "persons", "by": by}
    spec = small_question(statistics=[persons, cost], data__max_rows_per_person=1)
    stage = schedule_for(spec).stages[0]
    parquet, csv, server = (
        half_for(spec).read(open_source(register(e))).answer(stage, np.zeros(0)).values.tolist()
        for e in (entry(files), entry(as_csv), database)
    )
    assert parquet == csv == server
    assert sum(parquet) > 0


@needs_server
@pytest.mark.slow
@pytest.mark.parametrize("table", StayTable)
def test_postgresql_gives_the_stays_of_files(files: Path, database: DatasetEntry, table: StayTable) -> None:
    stays = StayDerivation(table=table, year=YEAR, last_day=datetime.date(YEAR, 12, 31), regions=("310000",))
    from_files, from_server = (dataclasses.replace(e, derivation=stays) for e in (entry(files), database))
    read = read_through(from_server)
    assert read.entry.fingerprint == register(from_files).fingerprint
    assert read.rows > 0
    assert read.entry.feature_set == stays_reference(table)


@needs_server
@pytest.mark.slow
def test_claims_in_postgresql_get_the_scores_of_files_when_they_are_registered(
    files: Path, database: DatasetEntry, tmp_path: Path
) -> None:
    home = Home(tmp_path / "node")
    make_home(home.path)
    assert database.connection_file is not None
    write(home.path / "claims.conn", database.connection_file.read_bytes(), me())
    head = (home.path / "node.toml").read_text().partition("[[dataset]]")[0]
    sets = f'features = "person_year"\nregions = ["310000"]\ndeclared_persons = 60\ndata_year = {YEAR}\n'
    there = f'name = "there"\nconnection_file = "claims.conn"\nschema = "{database.schema}"\n'
    here = f'name = "here"\nclaims = "{files}"\n'
    text = f"{head}[[dataset]]\n{there}{sets}[[dataset]]\n{here}{sets}"
    write(home.path / "node.toml", text.encode(), me())
    from_server, from_files = register_dataset(home, "there"), register_dataset(home, "here")
    assert from_server.entry.fingerprint == from_files.entry.fingerprint
    assert from_server.quality == from_files.quality
    assert set(from_server.quality) >= {"completeness", "validity", "uniqueness"}
    assert home.node().dataset[0].quality == from_server.quality


@needs_server
@pytest.mark.slow
def test_claims_in_a_database_are_refused_where_a_table_is_not_there(database: DatasetEntry) -> None:
    with psycopg.connect(SERVER, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(database.schema, "setl_oprn")))
    with pytest.raises(DataContractError, match="setl_oprn does not exist"):
        register(database)


@pytest.mark.slow
def test_changed_claims_are_refused_until_they_are_registered_again(files: Path, tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "claims", read_tables())
    registered = register(entry(folder))
    tables = read_tables()
    tables["psn_insu"][0]["gend"] = "2"
    tables["psn_insu"][8]["insu_admdvs"] = "320400"
    write_tables(folder, {"psn_insu": tables["psn_insu"]})
    with pytest.raises(DataContractError, match="register it again"):
        open_source(registered).training_examples(SPEC)
    stored = entry(folder).stored_table
    with pytest.raises(DataContractError, match="changed while"), stored.snapshot():
        write_tables(folder, {"psn_insu": read_tables()["psn_insu"]})


def test_derived_rows_have_one_place_and_the_national_pseudonym(tmp_path: Path) -> None:
    for changes, says in (
        ({"claims": None}, "needs claims, a folder, or connection_file"),
        ({"connection_file": tmp_path / "conn"}, "not both"),
        ({"path": tmp_path / "rows.csv"}, "remove path and table"),
        ({"person": "id"}, "person must be psn_no"),
    ):
        with pytest.raises(ConfigError, match=says):
            dataclasses.replace(entry(tmp_path), **changes)


def test_a_study_that_names_another_feature_set_is_refused() -> None:
    table = pa.table({"psn_no": ["a", "b"]})
    source = TableSource(table, declared_persons=2, data_year=YEAR, feature_set=SET.reference)
    check_feature_set(small_question(), source)
    named = small_question(data__feature_set=SET.reference)
    check_feature_set(named, source)
    for other in (SET.reference[:-1] + "0", ""):
        changed = TableSource(table, declared_persons=2, data_year=YEAR, feature_set=other)
        with pytest.raises(StudyRefused, match="feature_set"):
            check_feature_set(named, changed)
