"""Reads the nodes' tables of a simulation from a folder with a folder a province, as the generator writes it.

Stays and first stays are made from the claims as a province's own node makes them; where the regions of a
province are not known from the generator, `REGIONS` says them.
"""

from __future__ import annotations

import datetime
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa

from fedmed.data.claims.institutions import CITIES
from fedmed.data.duckdb_files import open_engine, own_words, quoted, united
from fedmed.data.feature_sets.derive import open_derived, stating
from fedmed.data.feature_sets.stays import StayDerivation, StayTable
from fedmed.data.nhsa.folder import find_named, open_folder
from fedmed.data.synthetic_parameters import PROVINCES
from fedmed.errors import ConfigError, DataContractError

GENERATED: Final = "generated.json"
"""File of ``fedmed data generate`` by which made-up provinces are known."""
REGIONS: Final = "regions.toml"
"""File with a line a province, ``shanghai = ["310000"]``: the regions that are its own."""


def province_tables(
    folder: Path, dataset: str, *, nodes: Sequence[str], columns: Sequence[str]
) -> dict[str, pa.Table]:
    """One dataset of every province.

    Args:
        folder: Holds ``shanghai/setl/...`` and so on.
        dataset: ``stay`` or ``first_stay``, which are made from the claims, over all the years that they tell
            of; or a table that lies in each province's folder, such as ``setl``.
        nodes: Names of the provinces' folders.
        columns: What the study reads; other columns of a table are not loaded.

    Returns:
        Rows by node, in the order of ``nodes``.

    Raises:
        ConfigError: a province's regions are not known.
        DataContractError: a folder, a table or a column is missing, or a file cannot be read.
    """
    for node in nodes:
        if not (folder / node).is_dir():
            raise DataContractError(
                f"{folder / node}: no such folder; --data must hold a folder for each node of the study"
            )
    made = {table.value: table for table in StayTable}
    to_make = [node for node in nodes if dataset in made and not find_named(folder / node, [dataset])]
    recipes = _recipes(folder, to_make, table=made[dataset]) if to_make else {}
    return {
        node: _made(folder / node, recipes[node], columns)
        if node in recipes
        else _read(folder / node, dataset, columns)
        for node in nodes
    }


def regions_of(folder: Path, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The regions of provinces, from `REGIONS` or, of made-up ones, from the generator.

    Args:
        folder: Holds their folders.
        names: Of the provinces.

    Raises:
        ConfigError: a province has none, or `REGIONS` cannot be read.
    """
    known = known_regions(folder)
    missing = [name for name in names if not known.get(name)]
    if missing:
        lines = "; ".join(f'{name} = ["310000"]' for name in missing)
        raise ConfigError(
            f"{folder}: whose stays are whose is not known, because regions of {', '.join(missing)} are not; "
            f"write {folder / REGIONS} with each one's own regions: {lines}"
        )
    return {name: known[name] for name in names}


def known_regions(folder: Path) -> dict[str, tuple[str, ...]]:
    """Province -> regions, of those that are known; errors as `regions_of` for a file that is no list."""
    known: dict[str, tuple[str, ...]] = {}
    if (folder / GENERATED).is_file():
        first = dict(reversed(CITIES))
        known = {province.key: (f"{first[i][:2]}0000",) for i, province in enumerate(PROVINCES)}
    path = folder / REGIONS
    if not path.is_file():
        return known
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as fault:
        raise ConfigError(f"cannot read {path}: {fault}") from None
    for name, regions in said.items():
        if not isinstance(regions, list) or not all(isinstance(region, str) for region in regions):
            raise ConfigError(f'{path}: {name} must be a list of regions, such as {name} = ["310000"]')
        known[name] = tuple(regions)
    return known


def _recipes(folder: Path, names: Sequence[str], *, table: StayTable) -> dict[str, StayDerivation]:
    """How each province's stays are made, all over one period."""
    regions = regions_of(folder, names)
    year, last_day = _period([folder / name for name in names])
    return {
        name: StayDerivation(table=table, year=year, last_day=last_day, regions=own)
        for name, own in regions.items()
    }


def _period(folders: Sequence[Path]) -> tuple[int, datetime.date]:
    """First year and last day, the last of a month, that any of the provinces' settlements tell of."""
    query = "SELECT min(enddate), max(last_day(enddate)) FROM setl"
    days: list[tuple[datetime.date, datetime.date]] = []
    for folder in folders:
        with open_folder(folder, memory_mib=1024, threads=2) as opened:
            if "setl" not in opened.tables or "enddate" not in opened.tables["setl"].columns:
                raise DataContractError(f"{folder.name}/setl: enddate is missing; stays are made from it")
            with own_words("setl"):
                found = opened.engine.execute(query).fetchone()
        if found is not None and found[0] is not None:
            days.append(found)
    if not days:
        raise DataContractError("no settlement has an enddate: there are no stays")
    return min(first for first, _ in days).year, max(last for _, last in days)


def _made(folder: Path, recipe: StayDerivation, columns: Sequence[str]) -> pa.Table:
    """Stays of one province, in an order of their own."""
    _require(columns, recipe.columns, folder=folder)
    with open_derived(folder, recipe, memory_mib=2048, threads=2) as derived:
        rows = pa.concat_tables(derived.chunks(recipe.columns))
    ordered = rows.sort_by([(name, "ascending") for name in recipe.columns])
    return stating(ordered.select(list(columns)), recipe.reference)


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


def _require(columns: Sequence[str], there: Sequence[str], *, folder: Path) -> None:
    """Refuse a table without a column that the study reads."""
    missing = sorted(set(columns) - set(there))
    if missing:
        raise DataContractError(
            f"{folder.name}: column {', '.join(missing)} is missing; the table has {', '.join(there)}"
        )
