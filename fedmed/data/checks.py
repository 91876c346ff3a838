"""Does a node's table hold what the study needs? Said before any budget is spent.

Every refusal names the site, the column, how many rows are concerned and what to do, and never a value.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from fedmed.data.columns import as_code_lists, as_numbers, as_text, column, person_groups
from fedmed.data.features import labels, person_ids
from fedmed.data.tables import nearest, refuse_identifiers
from fedmed.errors import DataContractError
from fedmed.types import DatasetSpec, Feature, FeatureKind


def check_table(table: pa.Table, spec: DatasetSpec, *, site: str) -> None:
    """Refuse a table that the study cannot use.

    Args:
        table: One node's rows.
        spec: What the study reads.
        site: The node's name, for the message.

    Raises:
        DataContractError: a column is missing, doubled or identifies persons; there are no rows, fewer
            than two persons, or rows without a pseudonym; numbers are not numeric or infinite, codes lie
            outside the vocabulary; the outcome is missing somewhere, neither 0 nor 1 without a
            threshold, or the same for all.
    """
    try:
        _check_columns(table, spec)
        _check_persons(table, spec)
        for feature in spec.features:
            _check_feature(table, feature)
        _check_label(table, spec)
    except DataContractError as error:
        raise DataContractError(f"{site}: {error}") from None


def check_tables(tables: Mapping[str, pa.Table], spec: DatasetSpec) -> None:
    """Check every site's table and report all faults at once; for simulations, which see all sites.

    Raises:
        DataContractError: at least one site's table is unfit; one line a site.
    """
    faults = []
    for site, table in tables.items():
        try:
            check_table(table, spec, site=site)
        except DataContractError as error:
            faults.append(str(error))
    if faults:
        raise DataContractError("\n".join(faults))


def _check_columns(table: pa.Table, spec: DatasetSpec) -> None:
    """Names: none doubled, none forbidden, none missing."""
    names = table.column_names
    refuse_identifiers(names, where="table")
    wanted = [spec.person, spec.label.column, *(f.name for f in spec.features)]
    missing = [name for name in dict.fromkeys(wanted) if name not in names]
    if missing:
        hints = ", ".join(f"column {name} is missing{nearest(name, names)}" for name in missing)
        raise DataContractError(hints)
    doubled = sorted({name for name in wanted if names.count(name) > 1})
    if doubled:
        raise DataContractError(f"column {', '.join(doubled)} occurs more than once; rename or drop one")


def _check_persons(table: pa.Table, spec: DatasetSpec) -> None:
    """Rows are there, all with a pseudonym, of at least two persons."""
    if table.num_rows == 0:
        raise DataContractError("the table has no rows; check the selection of the export")
    persons = int(person_groups(person_ids(table, spec.person)).max()) + 1
    if persons < 2:
        raise DataContractError(
            f"column {spec.person} names one person only; a sum over one person is that person's record, "
            "so a site needs at least two (and the study's min_cohort)"
        )


def _check_feature(table: pa.Table, feature: Feature) -> None:
    """Values can be read as the feature says."""
    values = column(table, feature.name)
    if feature.kind is FeatureKind.NUMBER:
        as_numbers(values, name=feature.name)
    elif feature.kind is FeatureKind.CODES:
        as_code_lists(values, name=feature.name, vocabulary_size=feature.vocabulary_size)
    elif pa.types.is_nested(values.type):
        raise DataContractError(f"column {feature.name} has type {values.type}; a category must be plain")
    else:
        as_text(values, name=feature.name)


def _check_label(table: pa.Table, spec: DatasetSpec) -> None:
    """The outcome occurs and fails to occur."""
    outcome = labels(table, spec.label)
    if np.unique(outcome).size < 2:
        raise DataContractError(
            f"label {spec.label.column} has one class only at this site; a model cannot learn or be judged "
            "from it: check the column and the threshold at_least, or leave the site out"
        )
