"""Reads the nodes' tables from a folder with a folder a province, as ``fedmed data generate`` writes them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from fedmed.data.duckdb_files import open_engine, own_words, quoted, united
from fedmed.data.nhsa.folder import find_named
from fedmed.data.nhsa.stays import StayTable, stay_table
from fedmed.errors import DataContractError


def province_tables(
    folder: Path, dataset: str, *, nodes: Sequence[str], columns: Sequence[str]
) -> dict[str, pa.Table]:
    """One dataset of every province.

    Args:
        folder: Holds ``shanghai/setl/...`` and so on.
        dataset: ``stay`` or ``first_stay``, which are made from the claims; or a table that lies in each
            province's folder, such as ``setl``.
        nodes: Names of the provinces' folders.
        columns: What the study reads; other columns of a table are not loaded.

    Returns:
        Rows by node, in the order of ``nodes``.

    Raises:
        DataContractError: a folder, a table or a column is missing, or a file cannot be read.
    """
    return {node: _table(folder / node, dataset, columns) for node in nodes}


def _table(folder: Path, dataset: str, columns: Sequence[str]) -> pa.Table:
    """One dataset of one province."""
    if not folder.is_dir():
        raise DataContractError(
            f"{folder}: no such folder; --data must hold a folder for each node of the study"
        )
    made = {table.value: table for table in StayTable}
    if dataset in made and not find_named(folder, [dataset]):
        return _chosen(stay_table(folder, made[dataset]), columns, folder=folder)
    return _read(folder, dataset, columns)


def _read(folder: Path, dataset: str, columns: Sequence[str]) -> pa.Table:
    """A table that lies there."""
    found = find_named(folder, [dataset])
    if not found:
        raise DataContractError(
            f"{folder}: no table {dataset}; expected {dataset}.parquet, {dataset}.csv or a folder {dataset}"
        )
    (files,) = found
    with open_engine(files.paths, memory_mib=2048, threads=2) as engine, own_words(dataset):
        there = engine.sql(f"SELECT * FROM {united(files.paths, files.kind)} LIMIT 0").columns  # noqa: S608
        _require(columns, there, folder=folder)
        listed = ", ".join(quoted(column) for column in columns)
        query = f"SELECT {listed} FROM {united(files.paths, files.kind)}"  # noqa: S608  # quoted names
        return engine.sql(query).to_arrow_table()


def _chosen(table: pa.Table, columns: Sequence[str], *, folder: Path) -> pa.Table:
    """Some columns of a table."""
    _require(columns, table.column_names, folder=folder)
    return table.select(list(columns))


def _require(columns: Sequence[str], there: Sequence[str], *, folder: Path) -> None:
    """Refuse a table without a column that the study reads."""
    missing = sorted(set(columns) - set(there))
    if missing:
        raise DataContractError(
            f"{folder.name}: column {', '.join(missing)} is missing; the table has {', '.join(there)}"
        )
