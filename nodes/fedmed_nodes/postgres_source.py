"""A table or view in PostgreSQL, read by a role that can do nothing else.

One read-only transaction in which nothing changes (repeatable read) holds the fingerprint and the reading.
Rows come by ``COPY (SELECT ...) TO STDOUT``: the server sends them as its scan finds them, as a cursor would,
and faster than one (`benchmarks/micro/sources.py` times both).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
import pyarrow as pa
import pyarrow.csv as pacsv
from psycopg import conninfo, sql

from fedmed.data.tables import refuse_identifiers
from fedmed.errors import ConfigError, DataContractError, StoreFailed
from fedmed.types import require
from fedmed_nodes.gathering import CHUNK_ROWS
from fedmed_nodes.private_folder import open_folder, read_file

LONGEST_CONNECTION: Final = 4_096
"""Bytes of a connection file."""
CHUNK_BYTES: Final = 16 << 20
"""A chunk ends early when its text is as long as this."""
_CLIENT: Final = {"connect_timeout": "10", "application_name": "fedmed"}
_LOCAL: Final = ("localhost", "127.0.0.1", "::1")
_VERIFIED: Final = ("verify-ca", "verify-full")

_INTEGERS = ("int2", "int4", "int8")
_TIMES = ("date", "time", "timestamp", "timestamptz")
_PLAIN = ("float4", "numeric", "text", "varchar", "bpchar", "uuid", *_TIMES)
# What the role may read of the table, and whether it may do more than read.
_FIND = """
SELECT c.oid,
       has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
       OR has_any_column_privilege(c.oid, 'INSERT, UPDATE')
       OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
_COLUMNS = """
SELECT a.attname,
       CASE t.typtype WHEN 'e' THEN 'text'  -- an enumeration's values are written as their names
                      WHEN 'd' THEN (SELECT b.typname FROM pg_type b WHERE b.oid = t.typbasetype)
                      ELSE t.typname END
FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped
      AND has_column_privilege(a.attrelid, a.attnum, 'SELECT')
ORDER BY a.attnum
"""
# Nothing that the server's owner set may change how a value is written or which function is called.
_SETTINGS = (
    "SET LOCAL search_path = pg_catalog",
    "SET LOCAL extra_float_digits = 1",
    "SET LOCAL datestyle = 'ISO, YMD'",
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL client_encoding = 'UTF8'",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresTable:
    """One table or view.

    Attributes:
        connection_file: A file of mode 0600 with one libpq connection string (``host=... dbname=...
            user=... password=...`` or a URL). It is read when the table is opened and never shown.
        table: Name of the table, as PostgreSQL stores it.
        schema: Name of its schema.
    """

    connection_file: Path
    table: str
    schema: str = "public"

    def __post_init__(self) -> None:
        for name in (self.table, self.schema):
            require(bool(name) and "\x00" not in name, "table and schema must be names")

    @contextmanager
    def snapshot(self) -> Iterator[PostgresSnapshot]:
        """See `fedmed_nodes.sources.StoredTable.snapshot`; the transaction sees no change.

        Raises:
            ConfigError: the file is not private or not a connection string; the way to the server is not
                encrypted; the role can write.
            DataContractError: there is no such table for this role.
            StoreFailed: the server cannot be reached.
        """
        with open_tables(self.connection_file, self.schema, (self.table,)) as found:
            yield found[self.table]


@contextmanager
def open_tables(
    connection_file: Path, schema: str, tables: Sequence[str]
) -> Iterator[Mapping[str, PostgresSnapshot]]:
    """Open several tables of one schema in one transaction, in which nothing changes.

    Args:
        connection_file: As for `PostgresTable`.
        schema: Name of their schema.
        tables: Their names.

    Yields:
        The tables by name.

    Raises:
        ConfigError, DataContractError, StoreFailed: as `PostgresTable.snapshot`.
    """
    parameters = connection_parameters(connection_file)
    try:
        connection = psycopg.connect(conninfo.make_conninfo(**parameters, **_CLIENT))
    except psycopg.Error:
        raise StoreFailed(
            f"no connection to PostgreSQL: check {connection_file.name}, the server and its log"
        ) from None
    try:
        connection.read_only = True
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        with _own_words():
            for setting in _SETTINGS:
                connection.execute(setting)
            found = {
                table: PostgresSnapshot(
                    connection, sql.Identifier(schema, table), types=_readable(connection, schema, table)
                )
                for table in tables
            }
        yield found
    finally:
        connection.close()


def _readable(connection: psycopg.Connection, schema: str, table: str) -> Mapping[str, str]:
    """The columns of a table that the role may read, with their types; it may do nothing else."""
    found = connection.execute(_FIND, (schema, table)).fetchone()
    if found is None:
        raise DataContractError(f"table {schema}.{table} does not exist, or not for this role")
    if found[1]:
        raise ConfigError(
            f"the role can write to {schema}.{table}: give the custodian a role of its own "
            "that is no superuser and no owner, with GRANT SELECT and nothing more"
        )
    types = {str(name): str(kind) for name, kind in connection.execute(_COLUMNS, (found[0],))}
    if not types:
        raise DataContractError(f"the role may read nothing of {schema}.{table}; GRANT SELECT")
    refuse_identifiers(list(types), where=table)
    return types


class PostgresSnapshot:
    """See `fedmed_nodes.sources.Snapshot`."""

    def __init__(
        self, connection: psycopg.Connection, table: sql.Identifier, *, types: Mapping[str, str]
    ) -> None:
        self._connection = connection
        self._table = table
        self._types = types

    @property
    def columns(self) -> tuple[str, ...]:
        """See `fedmed_nodes.sources.Snapshot.columns`."""
        return tuple(self._types)

    def chunks(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """See `fedmed_nodes.sources.Snapshot.chunks`."""
        kinds = {name: self._types[name] for name in columns}
        chosen = sql.SQL(", ").join(_expression(name, kind) for name, kind in kinds.items())
        query = sql.SQL("COPY (SELECT {} FROM {}) TO STDOUT (FORMAT csv)").format(chosen, self._table)
        fields = pa.schema([(name, _arrow_type(kind)) for name, kind in kinds.items()])
        yield fields.empty_table()
        with _own_words(), self._connection.cursor() as cursor, cursor.copy(query) as copy:
            rows: list[bytes | bytearray | memoryview] = []
            size = 0
            for row in copy:  # the server sends each row in a message of its own
                rows.append(row)
                size += len(row)
                if len(rows) >= CHUNK_ROWS or size >= CHUNK_BYTES:
                    yield _parsed(rows, fields)
                    rows, size = [], 0
            if rows:
                yield _parsed(rows, fields)


def connection_parameters(path: Path) -> dict[str, str]:
    """Read a connection file.

    Returns:
        libpq's parameters, with host, database and user: nothing is left to environment variables.

    Raises:
        ConfigError: the file is missing, readable by others, no connection string, or names a server that
            would be reached over a network without a checked certificate.
    """
    with open_folder(path.parent, hidden=False) as folder:
        data = read_file(path.name, folder=folder, path=path.parent, most=LONGEST_CONNECTION)
    if data is None:
        raise ConfigError(f"{path}: no such file; write the connection string into it, chmod 600")
    try:
        found = conninfo.conninfo_to_dict(data.decode("utf-8").strip())
    except (psycopg.Error, UnicodeError):
        raise ConfigError(f"{path}: not a libpq connection string") from None
    parameters = {key: str(value) for key, value in found.items() if value is not None and key not in _CLIENT}
    missing = [key for key in ("host", "dbname", "user") if not parameters.get(key)]
    require(not missing, f"{path}: the connection string must name {', '.join(missing)}")
    hosts = parameters["host"].split(",")
    is_local = all(host.startswith(("/", "@")) or host in _LOCAL for host in hosts)
    is_local = is_local and "hostaddr" not in parameters  # which libpq would connect to instead
    if not is_local and parameters.get("sslmode") not in _VERIFIED:
        raise ConfigError(f"{path}: rows would cross the network: set sslmode=verify-full and sslrootcert")
    return parameters


@contextmanager
def _own_words() -> Iterator[None]:
    """Turn the server's errors into ours: its texts quote rows."""
    try:
        yield
    except psycopg.OperationalError as error:
        raise StoreFailed(f"PostgreSQL stopped answering (state {error.sqlstate or 'unknown'})") from None
    except (psycopg.Error, pa.ArrowException, UnicodeError) as error:
        state = getattr(error, "sqlstate", None) or "unknown"
        raise DataContractError(f"the table is not readable (PostgreSQL's state {state})") from None


def _expression(name: str, kind: str) -> sql.Composable:
    """How a column is selected, so that its values do not depend on how they were stored."""
    column = sql.Identifier(name)
    if kind in (*_INTEGERS, "float8", *_PLAIN):
        return column
    if kind == "bool":
        return sql.SQL("{}::int").format(column)
    if kind.startswith("_") and kind[1:] in _INTEGERS:
        return sql.SQL("array_to_string({}, ' ', 'null')").format(column)
    raise ConfigError(f"column {name} has type {kind}; leave it out of the registered columns")


def _arrow_type(kind: str) -> pa.DataType:
    """What the text of a column is read as; decimals and short floats stay text, as from files."""
    if kind in (*_INTEGERS, "bool"):
        return pa.int64()
    return pa.float64() if kind == "float8" else pa.string()


def _parsed(rows: list[bytes | bytearray | memoryview], fields: pa.Schema) -> pa.Table:
    """Rows of CSV as a table; an empty field is missing, a quoted empty one is empty text."""
    text = b"".join(rows)
    return pacsv.read_csv(
        pa.BufferReader(text),
        read_options=pacsv.ReadOptions(
            column_names=fields.names, block_size=max(len(text), 1), use_threads=False
        ),
        parse_options=pacsv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=pacsv.ConvertOptions(
            column_types=fields, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )
