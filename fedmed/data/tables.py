"""Tables from CSV and Parquet files, whole or by site.

CSV is read as text, block by block, and typed only when a study says what a column is: guessing types from
the first block would make a file's meaning depend on its order. No message quotes a cell.
"""

from __future__ import annotations

import codecs
import difflib
import gzip
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Final, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from fedmed.data.columns import as_text, column
from fedmed.errors import DataContractError

DIRECT_IDENTIFIERS = ("psn_name", "certno")
"""Columns that name a person outright; a table with one of them is refused at import."""

_PARQUET: Final = b"PAR1"  # the first bytes of every Parquet file
_BLOCK_BYTES: Final = 1 << 20

# Arrow's own messages quote the cell that they could not read, so they are never passed on.
_UNREADABLE = (pa.ArrowException, OSError, UnicodeError)
_CUT_SHORT = (OSError, EOFError, zlib.error)


def read_table(path: Path) -> pa.Table:
    """Read a CSV (also gzipped) or Parquet file.

    Args:
        path: A file whose name ends in ``.csv``, ``.csv.gz``, ``.parquet`` or ``.pq``.

    Returns:
        The rows; every column of a CSV file as text, those of Parquet as stored.

    Raises:
        DataContractError: there is no such file, it is empty, broken, without rows or with two columns
            of one name, or it holds direct identifiers.
    """
    path = Path(path)
    if not path.is_file():
        raise DataContractError(f"{path.name}: no such file; check the path in the settings")
    if path.stat().st_size == 0:
        raise DataContractError(f"{path.name}: the file is empty; export it again")
    name = path.name.lower()
    if name.endswith((".csv", ".csv.gz")):
        table = _read_csv(path)
    elif name.endswith((".parquet", ".pq")):
        table = _read_parquet(path)
    else:
        raise DataContractError(f"{path.name}: unknown kind of file; use .csv, .csv.gz or .parquet")
    if table.num_rows == 0:
        raise DataContractError(f"{path.name}: the file has a header and no rows; export it again")
    return table


def split_by_site(table: pa.Table, site_column: str) -> dict[str, pa.Table]:
    """Split a table into one for each site.

    Args:
        table: Rows of all sites.
        site_column: Column that names the site.

    Returns:
        Site -> its rows in the table's order, without the site column; sites sorted by name.

    Raises:
        DataContractError: the column is missing, or some rows name no site.
    """
    if site_column not in table.column_names:
        raise DataContractError(
            f"site column {site_column} is missing{nearest(site_column, table.column_names)}"
        )
    sites = as_text(column(table, site_column), name=site_column)
    if sites.null_count:
        raise DataContractError(
            f"site column {site_column}: {sites.null_count} of {len(sites)} rows name no site; fill them in"
        )
    encoded = sites.dictionary_encode()
    names = encoded.dictionary.to_pylist()
    number = encoded.indices.to_numpy(zero_copy_only=False)
    rest = table.drop_columns([site_column])
    rows = {name: np.flatnonzero(number == i) for i, name in enumerate(names)}
    return {name: rest.take(pa.array(rows[name])) for name in sorted(names)}


def nearest(name: str, names: list[str]) -> str:
    """The remedy for a missing column: the nearest name that is there, as the end of a sentence."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]}?"
    return "; add it, or correct its name in the study file"


def _read_csv(path: Path) -> pa.Table:
    """Read text columns block by block, once; what Arrow cannot read is read again for the reason."""
    _check_kind(path)
    try:
        names = _checked_names(_header(path, _parse_options()), path)
        return _rows(path, names, _parse_options())
    except _UNREADABLE:
        pass
    _check_text(path)
    _check_widths(path)
    raise DataContractError(f"{path.name}: not readable as CSV; use UTF-8, commas and one header line")


def _parse_options(handler: Callable[[pacsv.InvalidRow], str] | None = None) -> pacsv.ParseOptions:
    """How a file is cut into cells; without a handler a row of another width stops the reading."""
    return pacsv.ParseOptions(invalid_row_handler=handler, newlines_in_values=True)


def _header(path: Path, parse_options: pacsv.ParseOptions) -> list[str]:
    """The column names, from the first block."""
    with pacsv.open_csv(path, parse_options=parse_options) as reader:
        return list(reader.schema.names)


def _rows(path: Path, names: list[str], parse_options: pacsv.ParseOptions) -> pa.Table:
    """All rows, every column as text; Arrow checks that each cell is UTF-8."""
    convert_options = pacsv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()),
        strings_can_be_null=True,
        quoted_strings_can_be_null=True,
        null_values=[""],
    )
    with pacsv.open_csv(path, parse_options=parse_options, convert_options=convert_options) as reader:
        return pa.Table.from_batches(list(reader), schema=reader.schema)


def _opened(path: Path) -> BinaryIO:
    """The bytes of a CSV file, gzipped or not."""
    if path.name.lower().endswith(".gz"):
        return cast(BinaryIO, gzip.open(path, "rb"))  # it reads like one, and is not typed as one
    return path.open("rb")


def _check_kind(path: Path) -> None:
    """Refuse a Parquet file that is called CSV, and what is not gzipped although its name says so."""
    try:
        with _opened(path) as file:
            start = file.read(len(_PARQUET))
    except _CUT_SHORT:
        raise _cut_short(path) from None
    if start == _PARQUET:
        raise DataContractError(f"{path.name}: holds Parquet; call it {path.stem}.parquet")


def _check_text(path: Path) -> None:
    """Find the line that is not UTF-8, or that the file ends too early."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    line = 1
    try:
        with _opened(path) as file:
            while block := file.read(_BLOCK_BYTES):
                decoder.decode(block)
                line += block.count(b"\n")
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as fault:
        line += fault.object[: fault.start].count(b"\n")
        raise DataContractError(
            f"{path.name}: line {line} is not UTF-8; convert the file "
            "(of a Chinese export: iconv -f GB18030 -t UTF-8)"
        ) from None
    except _CUT_SHORT:
        raise _cut_short(path) from None


def _cut_short(path: Path) -> DataContractError:
    """What is said of a file that ends too early, or is not gzipped although its name says so."""
    return DataContractError(f"{path.name}: cannot be read to its end; export it again")


def _check_widths(path: Path) -> None:
    """Count rows with another number of fields than the header.

    Only text that is UTF-8 comes here: of a ragged row that is not, Arrow prints a trace that quotes it.
    """
    ragged = 0

    def count(_: pacsv.InvalidRow) -> str:
        """Count and go on, so that the error can give a number and need not quote a row."""
        nonlocal ragged
        ragged += 1
        return "skip"

    try:
        names = _header(path, _parse_options(lambda _: "skip"))
        _rows(path, names, _parse_options(count))
    except _UNREADABLE:
        return
    if ragged:
        raise DataContractError(
            f"{path.name}: {ragged} rows have another number of fields than the header; correct the export"
        )


def _read_parquet(path: Path) -> pa.Table:
    """Read a Parquet file batch by batch."""
    try:
        with pq.ParquetFile(path) as file:
            _checked_names(list(file.schema_arrow.names), path)
            table = pa.Table.from_batches(list(file.iter_batches()), schema=file.schema_arrow)
        table.validate(full=True)  # text that is no UTF-8 would otherwise be found by whoever reads it next
        return table
    except _UNREADABLE:
        raise DataContractError(f"{path.name}: not readable as Parquet; export it again") from None


def _checked_names(names: list[str], path: Path) -> list[str]:
    """Refuse doubled or empty names and direct identifiers."""
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise DataContractError(
            f"{path.name}: the header names {', '.join(doubled)} more than once; rename or drop one"
        )
    if any(not name.strip() for name in names):
        raise DataContractError(f"{path.name}: the header has an empty column name; name every column")
    refuse_identifiers(names, where=path.name)
    return names


def refuse_identifiers(names: list[str], *, where: str) -> None:
    """Refuse columns that name a person outright.

    Raises:
        DataContractError: ``names`` holds one of `DIRECT_IDENTIFIERS`, however capitalised.
    """
    found = sorted(name for name in names if name.strip().lower() in DIRECT_IDENTIFIERS)
    if found:
        raise DataContractError(
            f"{where}: column {', '.join(found)} identifies persons directly; "
            "drop it and keep only the pseudonym before importing"
        )
