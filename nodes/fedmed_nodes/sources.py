"""Where a custodian's rows come from. Rows are checked when a dataset is registered, errors stay here."""

from __future__ import annotations

import hashlib
from typing import Protocol

import pyarrow as pa

from fedmed.data.examples import Examples
from fedmed.data.features import examples
from fedmed.errors import DataContractError
from fedmed.types import DatasetSpec, require


class RowSource(Protocol):
    """One registered dataset of a province.

    Attributes are public facts that the operator declared; `training_examples` is the only way to rows.
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
    def fingerprint(self) -> bytes:
        """Digest of the dataset version, 32 bytes."""
        ...

    def training_examples(self, spec: DatasetSpec) -> Examples:
        """Read the training part as a study asks for it.

        Raises:
            DataContractError: a column is missing or its values do not fit.
        """
        ...


class TableSource:
    """A dataset in memory: an Arrow table, for simulations and tests."""

    def __init__(self, table: pa.Table, *, declared_persons: int, data_year: int) -> None:
        require(declared_persons >= 1, f"declared_persons must be >= 1, got {declared_persons}")
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
    def fingerprint(self) -> bytes:
        """See `RowSource.fingerprint`."""
        return self._fingerprint

    def training_examples(self, spec: DatasetSpec) -> Examples:
        """See `RowSource.training_examples`; refuses more persons than were declared.

        Sensitivity counts on the declared number as an upper bound (`summing_error`).
        """
        found = examples(self._table, spec, part="train")
        if found.persons > self._declared_persons:
            raise DataContractError("the dataset holds more persons than were declared; register it again")
        return found


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
