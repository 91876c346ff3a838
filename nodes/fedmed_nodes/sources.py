"""Where a custodian's rows come from. Rows are checked when a dataset is registered, errors stay here.

`TableSource` holds a table in memory. `StoredSource` reads a table where it lies, `duckdb_source` and
`postgres_source` say how. All give the same bytes for the same contents.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from fedmed.data.examples import Examples
from fedmed.data.tables import nearest
from fedmed.errors import DataContractError, StudyRefused
from fedmed.types import DatasetSpec, require
from fedmed_nodes.fingerprint import content_fingerprint
from fedmed_nodes.gathering import CHUNK_ROWS, Survey, columns_of, gather, survey

PERSON = "psn_no"
"""Column of the pseudonym unless the operator registers another one (NHSA's name)."""


class RowSource(Protocol):
    """One registered dataset of a province.

    Attributes are public facts that the operator declared; `training_examples` and `chunks` are the only ways
    to rows.
    """

    @property
    def declared_persons(self) -> int:
        """Insured persons, as the catalogue says publicly."""
        ...

    @property
    def data_year(self) -> int:
        """Year that the rows describe."""
        ...

    @property
    def person(self) -> str:
        """Column with the person's pseudonym: the province says who one person is, never a study."""
        ...

    @property
    def fingerprint(self) -> bytes:
        """Digest of the dataset version, 32 bytes."""
        ...

    @property
    def feature_set(self) -> str:
        """``name@digest`` of the feature set that it is derived by; empty = it was made elsewhere."""
        ...

    @property
    def withheld(self) -> str:
        """Why the province lets no study read it, beginning with the rule; empty = studies may."""
        ...

    def training_examples(self, spec: DatasetSpec) -> Examples:
        """Read the training part as a study asks for it.

        Guarantees:
            Equal contents give equal bytes, whatever stores them and in whatever order.

        Raises:
            DataContractError: a column is missing, its values do not fit, there are more persons than
                were declared, or the dataset changed since it was registered.
            StoreFailed: the place where the rows lie cannot be reached.
        """
        ...

    def chunks(self, columns: Sequence[str]) -> AbstractContextManager[Iterator[pa.Table]]:
        """Read all rows in any order, exactly these columns, about `CHUNK_ROWS` rows at a time.

        At least one table comes, without rows if there are none. Whoever reads persons compares their number
        with the declared one (`require_persons`): sensitivity counts on it.

        Raises:
            DataContractError: a column is missing, or the dataset changed since it was registered: that is
                known before the first chunk, or on leaving.
            StoreFailed: the place where the rows lie cannot be reached.
        """
        ...


class TableSource:
    """A dataset in memory: an Arrow table, for simulations and tests."""

    def __init__(
        self,
        table: pa.Table,
        *,
        declared_persons: int,
        data_year: int,
        person: str = PERSON,
        feature_set: str = "",
    ) -> None:
        require(declared_persons >= 1, f"declared_persons must be >= 1, got {declared_persons}")
        self._person = person
        self._feature_set = feature_set
        self._table = table
        self._declared_persons = declared_persons
        self._data_year = data_year
        self._fingerprint = _fingerprint(table)

    @property
    def declared_persons(self) -> int:
        """See `RowSource.declared_persons`."""
        return self._declared_persons

    @property
    def data_year(self) -> int:
        """See `RowSource.data_year`."""
        return self._data_year

    @property
    def person(self) -> str:
        """See `RowSource.person`."""
        return self._person

    @property
    def fingerprint(self) -> bytes:
        """See `RowSource.fingerprint`."""
        return self._fingerprint

    @property
    def feature_set(self) -> str:
        """See `RowSource.feature_set`; the caller's word, as all public facts of a table in memory are."""
        return self._feature_set

    @property
    def withheld(self) -> str:
        """See `RowSource.withheld`: nothing is."""
        return ""

    def training_examples(self, spec: DatasetSpec) -> Examples:
        """See `RowSource.training_examples`; refuses more persons than were declared.

        Sensitivity counts on the declared number as an upper bound (`summing_error`).
        """
        with self.chunks(columns_of(spec)) as chunks:
            return require_declared(gather(chunks, spec), self._declared_persons)

    @contextmanager
    def chunks(self, columns: Sequence[str]) -> Iterator[Iterator[pa.Table]]:
        """See `RowSource.chunks`."""
        require_columns(columns, self._table.column_names)
        whole = self._table.select(list(columns))
        yield (whole.slice(at, CHUNK_ROWS) for at in range(0, max(whole.num_rows, 1), CHUNK_ROWS))


class Snapshot(Protocol):
    """A stored table that does not change while it is open."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of all columns that may be read, in the table's order."""
        ...

    def chunks(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Read all rows in any order, exactly these columns, about `CHUNK_ROWS` rows at a time.

        At least one table comes, without rows if there are none.

        Raises:
            DataContractError: the rows cannot be read; the message quotes none.
        """
        ...


class StoredTable(Protocol):
    """A table on disk or in a database."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open the table; leaving raises `DataContractError` if it changed in the meantime.

        Raises:
            ConfigError: settings, permissions or rights are not as they must be.
            DataContractError: there is no such table, or it is broken.
            StoreFailed: its place cannot be reached.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """What the operator registered.

    Attributes:
        declared_persons: Insured persons, public, an upper bound of those in the rows.
        data_year: Year that the rows describe.
        columns: Columns that studies may read; the fingerprint covers exactly these.
        fingerprint: Digest of their contents, 32 bytes.
        person: Column with the person's pseudonym.
        feature_set: ``name@digest`` of the feature set that gives the rows; empty = none.
        withheld: Why no study may read them, beginning with the rule; empty = studies may.
    """

    declared_persons: int
    data_year: int
    columns: tuple[str, ...]
    fingerprint: bytes
    person: str = PERSON
    feature_set: str = ""
    withheld: str = ""

    def __post_init__(self) -> None:
        require(self.declared_persons >= 1, f"declared_persons must be >= 1, got {self.declared_persons}")
        require(len(self.columns) > 0, "columns must name at least one column")
        require(len(self.fingerprint) == 32, "fingerprint must have 32 bytes; register the dataset again")


class StoredSource:
    """A registered dataset that is read where it lies, chunk by chunk.

    Every reading compares the contents with the registered fingerprint in the same snapshot, before the
    first example is made.
    """

    def __init__(self, table: StoredTable, registration: Registration) -> None:
        self._table = table
        self._registration = registration

    @property
    def declared_persons(self) -> int:
        """See `RowSource.declared_persons`."""
        return self._registration.declared_persons

    @property
    def data_year(self) -> int:
        """See `RowSource.data_year`."""
        return self._registration.data_year

    @property
    def person(self) -> str:
        """See `RowSource.person`."""
        return self._registration.person

    @property
    def fingerprint(self) -> bytes:
        """See `RowSource.fingerprint`; as registered, no row is read for it."""
        return self._registration.fingerprint

    @property
    def feature_set(self) -> str:
        """See `RowSource.feature_set`."""
        return self._registration.feature_set

    @property
    def withheld(self) -> str:
        """See `RowSource.withheld`."""
        return self._registration.withheld

    def training_examples(self, spec: DatasetSpec) -> Examples:
        """See `RowSource.training_examples`."""
        with self.chunks(columns_of(spec)) as chunks:
            found = gather(chunks, spec)
        return require_declared(found, self.declared_persons)

    @contextmanager
    def chunks(self, columns: Sequence[str]) -> Iterator[Iterator[pa.Table]]:
        """See `RowSource.chunks`."""
        with self._unchanged(columns) as snapshot:
            yield snapshot.chunks(columns)

    def check(self, spec: DatasetSpec) -> Survey:
        """Look whether a study could be served; for the operator, before a study comes.

        Raises:
            DataContractError: as `training_examples`, and for fewer than two persons, one class of outcome,
                or more persons than declared, held out or not.
        """
        with self.chunks(columns_of(spec)) as chunks:
            found = survey(chunks, spec)
        require_persons(found.persons, self.declared_persons)
        return found

    @contextmanager
    def _unchanged(self, columns: Sequence[str]) -> Iterator[Snapshot]:
        """A snapshot whose contents are the registered ones."""
        registered = self._registration
        require_columns(columns, registered.columns)
        with self._table.snapshot() as snapshot:
            require_columns(registered.columns, snapshot.columns)
            found, _ = content_fingerprint(snapshot.chunks(registered.columns), registered.columns)
            if found != registered.fingerprint:
                raise DataContractError("dataset changed: register it again")
            yield snapshot


def require_served(source: RowSource) -> None:
    """Raise `StudyRefused` with the rule for a dataset that the province withholds from all studies."""
    if source.withheld:
        raise StudyRefused(source.withheld)


def require_columns(wanted: Sequence[str], there: Sequence[str]) -> None:
    """Raise `DataContractError` with the nearest name for every wanted column that is not there."""
    missing = [name for name in wanted if name not in there]
    if missing:
        hints = (f"column {name} is missing{nearest(name, list(there))}" for name in missing)
        raise DataContractError(", ".join(hints))


def require_declared(found: Examples, declared_persons: int) -> Examples:
    """Raise `DataContractError` for more persons than the catalogue says; else give the examples back."""
    require_persons(found.persons, declared_persons)
    return found


def require_persons(persons: int, declared_persons: int) -> None:
    """Raise `DataContractError` for more persons than the catalogue says: sensitivity relies on it."""
    if persons > declared_persons:  # the text does not say by how many
        raise DataContractError("the dataset holds more persons than were declared; register it again")


def _fingerprint(table: pa.Table) -> bytes:
    """Digest of schema and contents, batch by batch."""
    h = hashlib.sha256()

    class _Sink:
        """Feeds what Arrow writes to the hash."""

        closed = False

        def write(self, data: bytes) -> int:
            h.update(data)
            return len(data)

        def flush(self) -> None: ...

    with pa.ipc.new_stream(pa.PythonFile(_Sink(), mode="w"), table.schema) as writer:
        writer.write_table(table, max_chunksize=65_536)
    return h.digest()
