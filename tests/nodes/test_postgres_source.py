"""Against a real server: ``FEDMED_TEST_POSTGRES`` connects to a test server as a superuser."""

import dataclasses
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pytest
from psycopg import conninfo, sql

from fedmed.errors import ConfigError, DataContractError, StoreFailed
from fedmed_nodes import postgres_source
from fedmed_nodes.postgres_source import PostgresTable, connection_parameters
from fedmed_nodes.registration import DatasetEntry, SourceKind, open_source, register
from fedmed_nodes.sources import StoredSource, TableSource
from tests.contracts.source_contract import (
    CODES,
    DECLARED,
    MONEY,
    SEX,
    SPEC,
    YEAR,
    Registered,
    SourceContract,
    as_bytes,
    contents,
)

SERVER = os.environ.get("FEDMED_TEST_POSTGRES", "")
needs_server = pytest.mark.skipif(
    not SERVER,
    reason="set FEDMED_TEST_POSTGRES to the connection string of a PostgreSQL superuser; .ci/run starts one",
)
TYPES = {
    pa.float64(): "double precision",
    pa.float32(): "real",
    pa.decimal128(16, 2): "numeric(16,2)",
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.bool_(): "boolean",
    pa.date32(): "date",
    pa.list_(pa.int32()): "integer[]",
    pa.string(): "text",
}
TABLE = "Rows; 人'\""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """A schema of its own on the test server, and a role that may read it and nothing else."""

    connection: psycopg.Connection
    schema: str
    role: str
    file: Path

    def run(self, text: str, **names: str) -> None:
        """Run a statement as the superuser; ``{table}``, ``{role}`` and further names are quoted."""
        known = {"table": sql.Identifier(self.schema, TABLE), "role": sql.Identifier(self.role)}
        known |= {name: sql.Identifier(value) for name, value in names.items()}
        self.connection.execute(sql.SQL(text).format(**known))  # type: ignore[arg-type]

    def load(self, table: pa.Table) -> None:
        """Make the table anew with these contents."""
        fields = sql.SQL(", ").join(
            sql.SQL("{} " + TYPES[field.type]).format(sql.Identifier(field.name)) for field in table.schema
        )
        self.run("DROP TABLE IF EXISTS {table} CASCADE")
        name = sql.Identifier(self.schema, TABLE)
        self.connection.execute(sql.SQL("CREATE TABLE {} ({})").format(name, fields))
        with (
            self.connection.cursor() as cursor,
            cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy,
        ):
            for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
                copy.write_row(row)
        self.run("GRANT SELECT ON {table} TO {role}")

    def entry(self, **changes: Any) -> DatasetEntry:
        """The dataset as an operator would name it."""
        values: dict[str, Any] = {
            "kind": SourceKind.POSTGRESQL,
            "connection_file": self.file,
            "table": TABLE,
            "schema": self.schema,
            "declared_persons": DECLARED,
            "data_year": YEAR,
        }
        return DatasetEntry(**{**values, **changes})

    def registered(self, **changes: Any) -> StoredSource:
        """A source of the present contents."""
        return open_source(register(self.entry(**changes)))


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    name = f"fedmed test {secrets.token_hex(6)} 省"
    role = f"{name} reader"
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    with psycopg.connect(SERVER, autocommit=True) as connection:
        found = Place(connection=connection, schema=name, role=role, file=folder / "connection")
        found.run("CREATE SCHEMA {name}", name=name)
        found.run("CREATE ROLE {role} LOGIN")
        found.run("GRANT USAGE ON SCHEMA {name} TO {role}", name=name)
        write_private(found.file, conninfo.make_conninfo(SERVER, user=role))
        try:
            yield found
        finally:
            found.run("DROP SCHEMA {name} CASCADE", name=name)
            found.run("DROP ROLE {role}")


def write_private(path: Path, text: str) -> None:
    path.write_text(text + "\n", encoding="utf-8")
    path.chmod(0o600)


@needs_server
class TestPostgres(SourceContract):
    @pytest.fixture
    def registered(self, place: Place) -> Registered:
        def make(table: pa.Table) -> StoredSource:
            place.load(table)
            return place.registered()

        return make


@needs_server
def test_the_fingerprint_is_that_of_a_file_with_these_rows(place: Place, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    place.load(contents())
    pq.write_table(contents(), tmp_path / "rows.parquet")
    file = DatasetEntry(path=tmp_path / "rows.parquet", declared_persons=DECLARED, data_year=YEAR)
    assert register(place.entry()).fingerprint == register(file).fingerprint


@needs_server
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE {table} SET sick = 1 - sick",
        "UPDATE {table} SET age = age + 1e-9 WHERE ctid = (SELECT min(ctid) FROM {table} WHERE age > 0)",
        "DELETE FROM {table} WHERE ctid = (SELECT min(ctid) FROM {table})",
        "INSERT INTO {table} SELECT * FROM {table} LIMIT 1",
    ],
)
def test_changed_rows_must_be_registered_again(change: str, place: Place) -> None:
    place.load(contents())
    source = place.registered()
    place.run(change)
    with pytest.raises(DataContractError, match="dataset changed: register it again"):
        source.training_examples(SPEC)
    assert place.registered().training_examples(SPEC).rows > 0


@needs_server
def test_rows_that_move_are_not_changed_rows(place: Place) -> None:
    place.load(contents())
    source = place.registered()
    before = as_bytes(source.training_examples(SPEC))
    place.run("UPDATE {table} SET age = age WHERE sick = 1")  # writes these rows anew, at the end
    place.run("CREATE TABLE {table2} AS TABLE {table}", table2=f"copy of {place.schema}")
    place.run("DROP TABLE {table2}", table2=f"copy of {place.schema}")
    assert as_bytes(source.training_examples(SPEC)) == before


@needs_server
def test_a_change_during_the_reading_is_not_seen(place: Place) -> None:
    place.load(contents())
    with place.entry().stored_table.snapshot() as snapshot:
        place.run("DELETE FROM {table}")
        assert sum(chunk.num_rows for chunk in snapshot.chunks(("psn_no",))) == 150


@needs_server
def test_only_the_columns_of_the_study_are_asked_for(place: Place) -> None:
    """The role may read the registered columns and no other, so that one column too many would fail."""
    place.load(contents())
    place.run("REVOKE ALL ON {table} FROM {role}")
    place.run("GRANT SELECT (psn_no, sick, age, {money}) ON {table} TO {role}", money=MONEY)
    registered = register(place.entry())
    assert registered.columns == ("psn_no", "age", MONEY, "sick")
    narrow = dataclasses.replace(SPEC, features=SPEC.features[:2])
    memory = TableSource(contents(), declared_persons=DECLARED, data_year=YEAR)
    assert as_bytes(open_source(registered).training_examples(narrow)) == as_bytes(
        memory.training_examples(narrow)
    )
    with pytest.raises(DataContractError, match="column share is missing"):
        open_source(registered).training_examples(SPEC)


@needs_server
def test_chunks_stay_small(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.load(contents())
    expected = as_bytes(place.registered().training_examples(SPEC))
    monkeypatch.setattr(postgres_source, "CHUNK_ROWS", 7)
    with place.entry().stored_table.snapshot() as snapshot:
        sizes = [chunk.num_rows for chunk in snapshot.chunks((SEX, CODES))]
    assert (max(sizes), sum(sizes)) == (7, 150)
    assert as_bytes(place.registered().training_examples(SPEC)) == expected
    monkeypatch.setattr(postgres_source, "CHUNK_BYTES", 20)
    with place.entry().stored_table.snapshot() as snapshot:
        assert max(chunk.num_rows for chunk in snapshot.chunks((SEX, CODES))) < 7


@needs_server
def test_the_transaction_cannot_write(place: Place) -> None:
    place.load(contents())
    place.run("CREATE TABLE {other} (x int)", other=f"{place.schema} other")
    place.run("GRANT ALL ON {other} TO {role}", other=f"{place.schema} other")
    try:
        with place.entry().stored_table.snapshot() as snapshot:
            connection = snapshot._connection  # type: ignore[attr-defined]
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                connection.execute(f'INSERT INTO public."{place.schema} other" VALUES (1)')  # noqa: S608
    finally:
        place.run("DROP TABLE {other}", other=f"{place.schema} other")


@needs_server
@pytest.mark.parametrize(
    "grant",
    [
        "GRANT UPDATE ON {table} TO {role}",
        "GRANT INSERT (age) ON {table} TO {role}",
        "ALTER TABLE {table} OWNER TO {role}",
        "ALTER ROLE {role} SUPERUSER",
    ],
)
def test_a_role_that_can_write_is_refused(grant: str, place: Place) -> None:
    place.load(contents())
    place.run(grant)
    with pytest.raises(ConfigError, match="the role can write"):
        register(place.entry())


@needs_server
def test_a_view_is_read_like_a_table(place: Place) -> None:
    place.load(contents())
    place.connection.execute(
        sql.SQL("CREATE VIEW {} AS SELECT * FROM {}").format(
            sql.Identifier(place.schema, "person_year"), sql.Identifier(place.schema, TABLE)
        )
    )
    place.connection.execute(
        sql.SQL("GRANT SELECT ON {} TO {}").format(
            sql.Identifier(place.schema, "person_year"), sql.Identifier(place.role)
        )
    )
    assert register(place.entry(table="person_year")).fingerprint == register(place.entry()).fingerprint


@needs_server
def test_what_cannot_be_read_is_said_without_a_value(place: Place) -> None:
    with pytest.raises(DataContractError, match="does not exist, or not for this role"):
        register(place.entry(table="nothing"))
    place.load(contents(rows=1).slice(1))
    with pytest.raises(DataContractError, match="no rows"):
        register(place.entry())
    place.run("ALTER TABLE {table} ADD COLUMN extra json")
    with pytest.raises(ConfigError, match="column extra has type json; leave it out"):
        register(place.entry())
    place.run("ALTER TABLE {table} ADD COLUMN certno text")
    with pytest.raises(DataContractError, match="certno identifies persons directly"):
        register(place.entry())
    place.run("REVOKE ALL ON {table} FROM {role}")
    with pytest.raises(DataContractError, match="may read nothing"):
        register(place.entry())


@needs_server
def test_a_value_that_breaks_a_view_stays_in_the_province(place: Place) -> None:
    place.load(contents())
    broken = sql.Identifier(place.schema, "broken")
    place.connection.execute(
        sql.SQL("CREATE VIEW {} AS SELECT psn_no, remark::int AS remark FROM {}").format(
            broken, sql.Identifier(place.schema, TABLE)
        )
    )
    place.connection.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(broken, sql.Identifier(place.role)))
    with pytest.raises(DataContractError, match="state 22P02") as fault:
        register(place.entry(table="broken"))
    assert "never read" not in str(fault.value)


@needs_server
def test_enumerations_domains_and_padded_text_are_read_as_their_values(place: Place) -> None:
    place.load(contents())
    source = place.registered()
    kinds = {"kind": f"{place.schema} kind", "age_kind": f"{place.schema} age"}
    place.run("CREATE TYPE {kind} AS ENUM ('a')", **kinds)
    place.run("CREATE DOMAIN {age_kind} AS double precision", **kinds)
    try:
        place.run("ALTER TABLE {table} ALTER age TYPE {age_kind}", **kinds)
        place.run("ALTER TABLE {table} ALTER psn_no TYPE char(30)")
        assert register(place.entry()).fingerprint == source.fingerprint
        place.run("UPDATE {table} SET remark = 'a'")
        plain = register(place.entry()).fingerprint
        place.run("ALTER TABLE {table} ALTER remark TYPE {kind} USING remark::text::{kind}", **kinds)
        assert register(place.entry()).fingerprint == plain
    finally:
        place.run("DROP TABLE {table}")
        place.run("DROP TYPE {kind}", **kinds)
        place.run("DROP DOMAIN {age_kind}", **kinds)


def connection_file(tmp_path: Path, text: str) -> Path:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700, exist_ok=True)
    write_private(folder / "connection", text)
    return folder / "connection"


PASSWORD = "password=S3CRET"  # noqa: S105
Spoil = Callable[[Path], object]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"host=/tmp dbname=x {PASSWORD}", "must name user"),
        (f"user=x {PASSWORD}", "must name host, dbname"),
        (f"{PASSWORD} nonsense", "not a libpq connection string"),
        (f"host=db.example dbname=x user=x {PASSWORD}", "rows would cross the network"),
        (f"host=localhost,db.example dbname=x user=x {PASSWORD}", "rows would cross the network"),
        (f"host=db.example dbname=x user=x sslmode=require {PASSWORD}", "rows would cross the network"),
        (f"host=localhost hostaddr=10.0.0.1 dbname=x user=x {PASSWORD}", "rows would cross the network"),
    ],
)
def test_a_connection_that_is_not_safe_is_refused(text: str, words: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=words) as fault:
        connection_parameters(connection_file(tmp_path, text))
    assert "S3CRET" not in str(fault.value)


@pytest.mark.parametrize(
    "text",
    [
        "host=/tmp dbname=x user=x",
        "postgresql://x@localhost/x",
        "host=db.example dbname=x user=x sslmode=verify-full sslrootcert=/etc/ca.pem",
    ],
)
def test_a_local_or_verified_connection_is_taken(text: str, tmp_path: Path) -> None:
    found = connection_parameters(connection_file(tmp_path, text))
    assert {"host", "dbname", "user"} <= set(found)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.chmod(0o640), "closed to group and others"),
        (lambda path: path.unlink(), "no such file"),
        (lambda path: path.parent.chmod(0o777), "closed to group and others"),
        (lambda path: (path.rename(path.with_name("x")), path.symlink_to("x")), "must be no link"),
    ],
)
def test_a_connection_file_is_private(spoil: Spoil, words: str, tmp_path: Path) -> None:
    path = connection_file(tmp_path, f"host=/tmp dbname=x user=x {PASSWORD}")
    spoil(path)
    with pytest.raises(ConfigError, match=words):
        connection_parameters(path)


def test_a_server_that_does_not_answer_is_the_operators_matter(tmp_path: Path) -> None:
    path = connection_file(tmp_path, f"host={tmp_path} dbname=x user=x {PASSWORD}")
    table = PostgresTable(connection_file=path, table="rows")
    with pytest.raises(StoreFailed, match="no connection to PostgreSQL") as fault, table.snapshot():
        pass
    assert "S3CRET" not in str(fault.value)
    assert "S3CRET" not in repr(table)
