"""The catalogues for the terminal, in plain lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fedmed.catalogue.document import CatalogueDataset, NodeCatalogue
from fedmed.catalogue.federation import dataset_names, differences, holders, short_feature_set


def node_text(catalogue: NodeCatalogue) -> str:
    """What one node publishes; the page has the columns one by one."""
    return "\n".join(_node_lines(catalogue))


def federation_text(catalogues: Sequence[NodeCatalogue], missing: Sequence[str] = ()) -> str:
    """What a federation's nodes publish, and where they differ.

    Args:
        catalogues: In roster order.
        missing: Nodes whose catalogue is not there.
    """
    return "\n".join(_federation_lines(catalogues, missing))


def _node_lines(catalogue: NodeCatalogue) -> Iterator[str]:
    """One node."""
    yield f"{catalogue.node}, {catalogue.made_on}: what may be asked"
    for name, words in catalogue.rules.items():
        yield f"  {name:<22} {', '.join(words) or 'none'}"
    for dataset in catalogue.datasets:
        yield ""
        yield f"dataset {dataset.name}: {_facts(dataset)}"
        free = dataset.may_be_asked
        yield f"  may be asked ({len(free)}): {', '.join(free) or 'nothing'}"
        yield from (f"  not {c.name}: {c.refusal}" for c in dataset.columns if c.refusal)
        yield from (f"  from {table}: {band} rows" for table, band in dataset.tables.items())


def _facts(dataset: CatalogueDataset) -> str:
    """A dataset in a line."""
    parts = [f"{dataset.declared_persons:,} persons declared", f"year {dataset.data_year}"]
    parts += [f"feature set {short_feature_set(dataset)}"] if dataset.feature_set else []
    by = " by own settings" if dataset.own_rules else ""
    parts += [f"lowest score {min(dataset.quality.values()):.3f}{by}"] if dataset.quality else ["not checked"]
    parts += [] if dataset.is_registered else ["not registered: not served"]
    parts += [f"not served: {dataset.refusal}"] if dataset.refusal else []
    return ", ".join(parts)


def _federation_lines(catalogues: Sequence[NodeCatalogue], missing: Sequence[str]) -> Iterator[str]:
    """All nodes."""
    for name in dataset_names(catalogues):
        yield f"dataset {name}"
        for node, dataset in holders(catalogues, name).items():
            yield f"  {node}: {_facts(dataset)}"
    yield from (f"{node} has handed in no catalogue" for node in missing)
    found = differences(catalogues)
    yield ""
    yield f"differences: {len(found) or 'none'}"
    for one in found:
        yield f"  {one.what} ({one.matters})"
        yield from (f"    {node}: {told}" for node, told in one.by_node.items())
