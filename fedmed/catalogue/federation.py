"""What the catalogues of several nodes have in common, and where they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from fedmed.catalogue.document import CatalogueDataset, NodeCatalogue


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that is not the same everywhere.

    Attributes:
        what: In a few words.
        by_node: Node -> how it is there.
        matters: What a study must mind.
    """

    what: str
    by_node: Mapping[str, str]
    matters: str


def dataset_names(catalogues: Sequence[NodeCatalogue]) -> tuple[str, ...]:
    """Names of all datasets, each once, in the order in which they come."""
    return tuple(dict.fromkeys(dataset.name for found in catalogues for dataset in found.datasets))


def holders(catalogues: Sequence[NodeCatalogue], name: str) -> dict[str, CatalogueDataset]:
    """Node -> its dataset of that name, where it has one."""
    return {found.node: d for found in catalogues for d in found.datasets if d.name == name}


def column_names(datasets: Sequence[CatalogueDataset]) -> tuple[str, ...]:
    """Columns that any of them has, each once, in the order in which they come."""
    return tuple(dict.fromkeys(column.name for dataset in datasets for column in dataset.columns))


def shared_columns(datasets: Sequence[CatalogueDataset]) -> tuple[str, ...]:
    """Columns that a study over all of them may compute on."""
    free = [{*dataset.may_be_asked, dataset.person} for dataset in datasets]
    return tuple(name for name in column_names(datasets) if all(name in names for names in free))


def differences(catalogues: Sequence[NodeCatalogue]) -> tuple[Difference, ...]:
    """Everything that is not the same at all nodes: rules first, then dataset by dataset.

    Args:
        catalogues: In roster order.
    """
    return (*_of_rules(catalogues), *_of_datasets(catalogues))


def _of_rules(catalogues: Sequence[NodeCatalogue]) -> Iterator[Difference]:
    """Rules of the policies, and versions."""
    names = dict.fromkeys(name for found in catalogues for name in found.rules)
    for name in names:
        told = {found.node: ", ".join(found.rules.get(name, ())) or "none" for found in catalogues}
        yield from _unequal(name, told, "a study must fit the strictest")
    versions = {found.node: found.schema_version for found in catalogues}
    yield from _unequal("schema of the tables", versions, "columns may mean different things")


def _of_datasets(catalogues: Sequence[NodeCatalogue]) -> Iterator[Difference]:
    """Facts and columns of the datasets."""
    facts: tuple[tuple[str, Callable[[CatalogueDataset], str], str], ...] = (
        ("year", lambda d: str(d.data_year), "outcomes are of different years"),
        ("feature set", lambda d: short_feature_set(d) or "none", "columns are made in different ways"),
        ("person column", lambda d: d.person, "a study names one column for all nodes"),
        ("served", _served, "the node refuses for now"),
        (
            "scores by",
            lambda d: "own settings" if d.own_rules else "the national rules",
            "scores compare less",
        ),
    )
    for name in dataset_names(catalogues):
        there = holders(catalogues, name)
        has = {found.node: "there" if found.node in there else "missing" for found in catalogues}
        yield from _unequal(f"{name}: dataset", has, "a study can name only nodes that have it")
        for what, tell, matters in facts:
            told = {node: tell(dataset) for node, dataset in there.items()}
            yield from _unequal(f"{name}: {what}", told, matters)
        for column in column_names(tuple(there.values())):
            told = {node: _of_column(dataset, column) for node, dataset in there.items()}
            yield from _unequal(f"{name}: {column}", told, "leave it out, or ask the province")


def _served(dataset: CatalogueDataset) -> str:
    """Whether studies are answered, and why not."""
    return "yes" if dataset.is_served else dataset.refusal or "not registered"


def _of_column(dataset: CatalogueDataset, name: str) -> str:
    """A column's grade and whether it may be used, in a few words."""
    for column in dataset.columns:
        if column.name == name:
            return f"{column.grade or 'no grade'}, {column.refusal or 'may be asked'}"
    return "missing"


def short_feature_set(dataset: CatalogueDataset) -> str:
    """A feature set's name with the first signs of its digest; empty where there is none."""
    name, sign, digest = dataset.feature_set.partition("@")
    return f"{name}@{digest[:8]}" if sign else ""


def _unequal(what: str, told: Mapping[str, str], matters: str) -> Iterator[Difference]:
    """A difference, where there is one."""
    if len(set(told.values())) > 1:
        yield Difference(what=what, by_node=told, matters=matters)
