"""Catalogues of made-up nodes, for tests of what is made of them."""

from __future__ import annotations

from dataclasses import replace

from fedmed.catalogue.document import CatalogueColumn, CatalogueDataset, NodeCatalogue

COLUMNS = (
    CatalogueColumn(name="psn_no", grade="restricted"),
    CatalogueColumn(
        name="age", zh="年龄", en="Age", kind="0 to 100 year", grade="sensitive", sample=("5", "9", "70")
    ),
    CatalogueColumn(name="cost", en="Cost <yuan>", grade="sensitive"),
)
DATASET = CatalogueDataset(
    name="person_year",
    declared_persons=5_000,
    data_year=2024,
    person="psn_no",
    is_registered=True,
    feature_set=f"person_year@{'ab' * 32}",
    quality={"completeness": 0.98, "validity": 1.0},
    columns=COLUMNS,
    tables={"setl": "20,000 to 50,000"},
)


def catalogue(node: str, **changes: object) -> NodeCatalogue:
    """The catalogue of a node; changes are of its one dataset."""
    return NodeCatalogue(
        node=node,
        made_on="2026-01-02",
        fedmed="0.1.0",
        schema_version="1.0",
        rules={"purposes": ("all",), "modes": ("aggregate",)},
        datasets=(replace(DATASET, **changes),),  # type: ignore[arg-type]  # the caller knows the fields
    )
