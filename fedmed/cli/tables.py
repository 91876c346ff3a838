"""Finds the rows that a simulated study reads: a file split by site, or one of the two demonstrations."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fedmed.cli.demo_study import RAND_DATASET, SYNTHETIC_DATASET, Source, demo_tables
from fedmed.errors import ConfigError, DataContractError
from fedmed.study import StudySpec, TrainingStudy

if TYPE_CHECKING:
    import pyarrow as pa

ROW_NUMBER = "row_number"
"""Person column of a file without pseudonyms: every row is taken for one person."""


def tables_for(spec: StudySpec, *, data: Path | None, site_column: str, seed: int) -> dict[str, pa.Table]:
    """The tables of a study's nodes, in roster order, checked against the study.

    Args:
        spec: The study.
        data: CSV or Parquet file with the rows of all sites, or a folder with a folder a node
            (`fedmed.data.provinces`); None = the demonstration that the study's dataset names.
        site_column: Column of the file that names the site.
        seed: Seed of the demonstration's rows.

    Raises:
        ConfigError: no file is given and the dataset is no demonstration's, or the demonstration's nodes
            are not the study's.
        DataContractError: the file does not hold what the study needs.
    """
    if data is None:
        tables = _demonstration(spec, seed)
    elif data.is_dir():
        from fedmed.data.provinces import province_tables

        tables = province_tables(data, spec.data.dataset, nodes=spec.nodes, columns=spec.columns)
    else:
        tables = sites_of(data, spec.data.person, site_column)
    missing = [node for node in spec.nodes if node not in tables]
    foreign = [site for site in tables if site not in spec.nodes]
    if missing or foreign:
        raise DataContractError(
            f"the rows' sites are {', '.join(tables)}; the study's nodes are {', '.join(spec.nodes)}: "
            "correct data.declared_persons in the study file, or the site column"
        )
    from fedmed.data.checks import check_tables

    ordered = {node: tables[node] for node in spec.nodes}
    if isinstance(spec, TrainingStudy):
        check_tables(ordered, spec.dataset_spec)
    return ordered


def sites_of(data: Path, person: str, site_column: str) -> dict[str, pa.Table]:
    """Read a file and split it by site; node keys are the sites' names as `node_key` gives them."""
    from fedmed.data.tables import read_table, split_by_site

    table = read_table(data)
    if person == ROW_NUMBER and ROW_NUMBER not in table.column_names:
        table = with_row_numbers(table)
    sites = split_by_site(table, site_column)
    keys = {site: node_key(site) for site in sites}
    if len(set(keys.values())) < len(keys) or not all(keys.values()):
        raise DataContractError(
            f"column {site_column}: the sites' names must differ in a-z, 0-9, - and _; "
            "give them names such as shanghai"
        )
    return {keys[site]: rows for site, rows in sites.items()}


def node_key(site: str) -> str:
    """A site's name as a node key: lower case, other signs become ``_``; empty where nothing is left."""
    return re.sub(r"[^a-z0-9-]+", "_", site.strip().lower()).strip("_-")[:64]


def with_row_numbers(table: pa.Table) -> pa.Table:
    """The table with a column `ROW_NUMBER` of text, so that every row is a person of its own."""
    import pyarrow as pa

    return table.append_column(ROW_NUMBER, pa.array([f"row{i}" for i in range(table.num_rows)]))


def _demonstration(spec: StudySpec, seed: int) -> Mapping[str, pa.Table]:
    """The rows of the demonstration that a study names."""
    if spec.data.dataset == RAND_DATASET:
        return demo_tables(Source.RAND_HIE, people=0, seed=seed)
    if spec.data.dataset != SYNTHETIC_DATASET:
        raise ConfigError(
            f"dataset {spec.data.dataset} is not one that FedMed can generate "
            f"({SYNTHETIC_DATASET}, {RAND_DATASET}); give the rows with --data FILE"
        )
    from fedmed.data.synthetic import declared_persons

    people = sum(spec.data.declared_persons.values())
    if dict(spec.data.declared_persons) != declared_persons(people):
        raise ConfigError(
            f"the generator deals {people} people as {declared_persons(people)}; write these numbers into "
            "data.declared_persons, or give the rows with --data FILE"
        )
    return demo_tables(Source.SYNTHETIC, people=people, seed=seed)
