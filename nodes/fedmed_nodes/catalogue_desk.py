"""``fedmed node catalogue``: what the settings, the policy and the public schema say of a node's datasets."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fedmed import __version__
from fedmed.catalogue.document import CatalogueColumn, CatalogueDataset, NodeCatalogue, size_band
from fedmed.crypto.identity import Identity
from fedmed.data.feature_sets.compile import Derivation
from fedmed.data.feature_sets.definition import Definition, Measure, derived_grades
from fedmed.data.feature_sets.recipe import Recipe
from fedmed.data.feature_sets.stays import StayTable
from fedmed.data.nhsa.folder import open_folder
from fedmed.data.nhsa.glossary import glossary
from fedmed.data.nhsa.sample import column_sample, derived_sample
from fedmed.data.nhsa.schema import Column, Kind, schema
from fedmed.data.nhsa.standing import quality_refusal
from fedmed.errors import KeyNotUsable
from fedmed.governance.policy import AutoApprove, Policy, column_refusal
from fedmed.study import PURPOSES
from fedmed_nodes.books import operators_home
from fedmed_nodes.home import Home
from fedmed_nodes.node_config import DatasetTable


def make_catalogue(path: Path) -> tuple[Home, NodeCatalogue]:
    """Put a home's catalogue together; as root it becomes the home's user first. A custodian may run.

    Args:
        path: The home.

    Returns:
        The home, and what may be published.

    Raises:
        ConfigError: a fault in the settings or the policy.
        DataContractError, StoreFailed: the claims that a dataset names cannot be opened.

    Guarantees:
        No row, no value and no exact count of rows is in it; the sample is made from the public schema.
    """
    home = operators_home(path)
    node, policy = home.node(), home.policy()
    catalogue = NodeCatalogue(
        node=home.card().name,
        made_on=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        fedmed=__version__,
        schema_version=schema().version,
        rules=policy_rules(policy),
        datasets=tuple(_dataset(home, one, policy) for one in node.dataset),
    )
    return home, catalogue


def signing_identity(home: Home) -> Identity:
    """The private keys, if they are those of the card.

    Raises:
        KeyNotUsable: the key file is not that of the card.
        ConfigError, IntegrityError: as `Home.identity`.
    """
    identity = home.identity()
    if identity.public != home.card():
        raise KeyNotUsable(f"the key file of {home.path} is not its card's: finish the change of keys first")
    return identity


def policy_rules(policy: Policy) -> dict[str, tuple[str, ...]]:
    """What a policy allows, name -> words, the same names for every policy."""
    anything = ("all",)
    grades = anything if policy.grades is None else tuple(sorted(grade.value for grade in policy.grades))
    gate = policy.quality_gate
    return {
        "purposes": anything if policy.purposes == frozenset(PURPOSES) else tuple(sorted(policy.purposes)),
        "modes": tuple(sorted(mode.value for mode in policy.modes)),
        "models and kinds": anything if policy.models is None else tuple(sorted(policy.models)),
        "schemes": tuple(sorted(scheme.value for scheme in policy.schemes)),
        "grades": grades,
        "epsilon a study": (f"{policy.max_epsilon_per_study:g}",),
        "epsilon a year": (f"{policy.max_epsilon_per_year:g}",),
        "least insured persons": (f"{policy.min_cohort:,}",),
        "exact sums": ("yes" if policy.exact_statistics else "no",),
        "approval": (_approval(policy),),
        "least quality": ("any" if gate is None else f"{gate:g}",),
        "policy ends": ("no end" if policy.expires is None else policy.expires.isoformat(),),
    }


def _approval(policy: Policy) -> str:
    """Who says yes, in a few words."""
    if isinstance(policy.auto_approve, AutoApprove):
        return "by rules, otherwise operators"
    if policy.auto_approve:
        return "by itself"
    operators = policy.operators
    return "an operator" if operators is None else f"{operators.approvals_needed} operators by signature"


def _dataset(home: Home, dataset: DatasetTable, policy: Policy) -> CatalogueDataset:
    """One dataset as it may be published."""
    recipe = dataset.recipe(home.path)
    names = dataset.columns or (() if recipe is None else recipe.columns)
    # As they will be once it is registered.
    grades = dataset.column_grades if recipe is None else derived_grades(names) | dict(dataset.grades)
    known = dict(_known_columns(dataset, recipe))
    columns = []
    for name in names:
        words = known.get(name, CatalogueColumn(name=name))
        grade = grades[name].value if name in grades else ""
        refusal = "" if name == dataset.person else column_refusal(name, policy, grades)
        columns.append(
            CatalogueColumn(
                name=name,
                zh=words.zh,
                en=words.en,
                kind=words.kind,
                sample=words.sample,
                grade=grade,
                refusal=refusal,
            )
        )
    return CatalogueDataset(
        name=dataset.name,
        declared_persons=dataset.declared_persons,
        data_year=dataset.data_year,
        person=dataset.person,
        is_registered=bool(dataset.fingerprint),
        feature_set="" if recipe is None else recipe.reference,
        quality=dict(dataset.quality),
        columns=tuple(columns),
        tables={} if dataset.claims is None else _bands(home.path / dataset.claims, dataset),
        refusal=quality_refusal(dataset.quality, policy.quality_gate) if dataset.fingerprint else "",
        own_rules=dataset.quality_settings is not None,
    )


def _bands(folder: Path, dataset: DatasetTable) -> Mapping[str, str]:
    """Table -> band of its rows."""
    with open_folder(folder, memory_mib=dataset.memory_mib, threads=dataset.threads) as opened:
        return {name: size_band(table.rows) for name, table in opened.tables.items()}


def _known_columns(dataset: DatasetTable, recipe: Recipe | None) -> Iterator[tuple[str, CatalogueColumn]]:
    """What public knowledge says of columns: the feature set's, or the schema's for a table of that name."""
    if isinstance(recipe, Derivation):
        table = schema().table("psn_insu")
        yield dataset.person, _of_schema("psn_insu", table.column(dataset.person))
        for one in (*recipe.features.features, *recipe.features.outcomes):
            yield one.name, _of_set(one)
    elif recipe is not None:
        yield from _of_stays(recipe.columns)
    elif dataset.name in schema().names:
        for column in schema().table(dataset.name).columns:
            yield column.name, _of_schema(dataset.name, column)


def _of_stays(columns: Sequence[str]) -> Iterator[tuple[str, CatalogueColumn]]:
    """Columns of stays: of settlements and their diagnoses, and what is made for a first stay."""
    words = glossary(columns, {}, dataset=StayTable.FIRST_STAY.value)
    for name in columns:
        table = "setl_diag" if name == "diag_code" else "setl"
        if name in {column.name for column in schema().table(table).columns}:
            yield name, _of_schema(table, schema().table(table).column(name))
        else:
            word = words[name]
            kind = f"number, {word['unit']}" if word["unit"] else "number"
            yield name, CatalogueColumn(name=name, zh=word["zh"], en=word["en"], kind=kind)


def _of_schema(table: str, column: Column) -> CatalogueColumn:
    """A column of the schema."""
    kind = f"codes {column.codes}" if column.codes else column.kind.value
    if column.kind is Kind.DECIMAL and not column.codes:
        kind = f"number{f', {column.unit}' if column.unit not in ('', '1') else ''}"
    return CatalogueColumn(
        name=column.name, zh=column.zh, en=column.en, kind=kind, sample=column_sample(table, column)
    )


def _of_set(one: Definition) -> CatalogueColumn:
    """A derived column with its public bounds."""
    if one.measure is Measure.CODES:
        kind = f"codes, {len(one.vocabulary)} words"
    elif one.measure is Measure.ATTRIBUTE:
        kind = f"one of {', '.join(one.categories)}"
    else:
        kind = f"{one.low:,.0f} to {one.high:,.0f}{f' {one.unit}' if one.unit else ''}"
    return CatalogueColumn(name=one.name, zh=one.zh, en=one.en, kind=kind, sample=derived_sample(one))
