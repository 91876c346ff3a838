"""The pages of one node's catalogue and of the federation's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fedmed.catalogue.document import CatalogueColumn, CatalogueDataset, NodeCatalogue
from fedmed.catalogue.federation import (
    Difference,
    column_names,
    dataset_names,
    differences,
    holders,
    shared_columns,
    short_feature_set,
)
from fedmed.report.page import Tile
from fedmed.report.sheet import Cell, Section, Sheet, Tone
from fedmed.report.units import ABSENT

_GRADES = {
    "public": (Tone.GOOD, "公开"),
    "internal": (Tone.INFO, "内部"),
    "sensitive": (Tone.WARN, "敏感"),
    "restricted": (Tone.BAD, "受限"),
}
RULES_ZH = {
    "purposes": "允许的用途",
    "modes": "计算方式",
    "models and kinds": "模型与研究类型",
    "schemes": "安全求和方案",
    "grades": "可用数据分级",
    "epsilon a study": "单项研究隐私预算",
    "epsilon a year": "年度隐私预算",
    "least insured persons": "最少参保人数",
    "exact sums": "无噪声统计",
    "approval": "审批方式",
    "least quality": "最低质量得分",
    "policy ends": "策略到期日",
}


def node_sheet(catalogue: NodeCatalogue) -> Sheet:
    """What one node publishes, as a page."""
    columns = [c for dataset in catalogue.datasets for c in dataset.columns if c.name != dataset.person]
    free = sum(len(dataset.may_be_asked) for dataset in catalogue.datasets)
    return Sheet(
        kicker="FedMed · 数据目录",
        title=f"What may be asked at {catalogue.node} 可申请的数据",
        finding=(
            "No row leaves the province: a study names these columns, the custodian computes on them and "
            "releases sums only. 原始数据不出省，研究只能得到汇总结果。"
        ),
        meta=(
            ("Made on", catalogue.made_on),
            ("FedMed", catalogue.fedmed),
            ("Schema", catalogue.schema_version),
        ),
        tiles=(
            Tile(name="Datasets", value=str(len(catalogue.datasets)), note="数据集"),
            Tile(name="Columns that may be asked", value=f"{free} of {len(columns)}", note="可用字段"),
            Tile(name="Persons declared", value=f"{_persons((catalogue,)):,}", note="申报参保人数"),
            Tile(name="Lowest score", value=_lowest(catalogue.datasets), note="最低质量得分"),
        ),
        sections=(_rules(catalogue), *(part for one in catalogue.datasets for part in _dataset(one))),
        footer="Sizes are bands; samples are made up from the public schema, none of them is a person's.",
    )


def federation_sheet(catalogues: Sequence[NodeCatalogue], missing: Sequence[str] = ()) -> Sheet:
    """What the nodes of a federation publish, side by side.

    Args:
        catalogues: In roster order, at least one.
        missing: Nodes of the roster whose catalogue is not there.
    """
    found = differences(catalogues)
    names = dataset_names(catalogues)
    return Sheet(
        kicker="FedMed · 联邦数据目录",
        title="What may be asked of the federation 联邦可申请的数据",
        finding=_finding(catalogues, found),
        tiles=(
            Tile(name="Nodes", value=str(len(catalogues)), note="节点"),
            Tile(name="Datasets", value=str(len(names)), note="数据集"),
            Tile(name="Persons declared", value=f"{_persons(catalogues):,}", note="最大数据集参保人数"),
            Tile(name="Differences", value=str(len(found)), note="差异"),
        ),
        warnings=tuple(f"{node} has handed in no catalogue." for node in missing),
        sections=(
            *(_side_by_side(catalogues, name) for name in names),
            _differences(found),
            *(_columns(catalogues, name) for name in names),
        ),
        footer="Each catalogue was checked against its node's key in the roster.",
    )


def _finding(catalogues: Sequence[NodeCatalogue], found: Sequence[Difference]) -> str:
    """One sentence for a study's author."""
    name = next(iter(dataset_names(catalogues)), "")
    there = tuple(holders(catalogues, name).values())
    free = [column for column in shared_columns(there) if all(column != one.person for one in there)]
    same = "nothing differs" if not found else f"{len(found)} things differ, listed below"
    return f"A study over {len(there)} nodes may compute on {len(free)} columns of {name}; {same}."


def _persons(catalogues: Sequence[NodeCatalogue]) -> int:
    """Declared persons of the dataset that covers most."""
    sums = [
        sum(d.declared_persons for d in holders(catalogues, n).values()) for n in dataset_names(catalogues)
    ]
    return max(sums, default=0)


def _lowest(datasets: Sequence[CatalogueDataset]) -> str:
    """The lowest score of all, or a dash."""
    scores = [score for dataset in datasets for score in dataset.quality.values()]
    return f"{min(scores):.3f}" if scores else ABSENT


def _rules(catalogue: NodeCatalogue) -> Section:
    """What the policy allows."""
    return Section(
        name="rules",
        heading="What the policy allows 策略",
        lead="The custodian refuses everything else.",
        columns=("Rule", "Here"),
        rows=tuple(
            (Cell(text=name, note=RULES_ZH.get(name, "")), Cell(text=", ".join(words) or "none"))
            for name, words in catalogue.rules.items()
        ),
    )


def _dataset(dataset: CatalogueDataset) -> Iterator[Section]:
    """Facts, then columns."""
    anchor = dataset.name.replace("_", "-")
    yield Section(
        name=f"dataset-{anchor}",
        heading=f"Dataset {dataset.name} 数据集",
        columns=("Fact", "Value"),
        rows=tuple(
            (Cell(text=en, note=zh), Cell(text=value, note=note)) for en, zh, value, note in _facts(dataset)
        ),
    )
    yield Section(
        name=f"columns-{anchor}",
        heading=f"Columns of {dataset.name} 字段",
        lead="Sample values are made up from the public schema. The pseudonym only groups rows by person.",
        columns=("Column", "May be asked", "What it is", "Grade", "Made-up sample"),
        rows=tuple(tuple(_cells(column, dataset)) for column in dataset.columns),
    )


def _facts(dataset: CatalogueDataset) -> Iterator[tuple[str, str, str, str]]:
    """English name, Chinese name, value, note."""
    yield "Insured persons declared", "申报参保人数", f"{dataset.declared_persons:,}", ""
    yield "Year", "数据年度", str(dataset.data_year), ""
    served = "yes" if dataset.is_served else "no"
    why = "" if dataset.is_served else dataset.refusal or "not registered"
    yield "Served", "是否可用", served, why
    if dataset.feature_set:
        name, _, digest = dataset.feature_set.partition("@")
        pieces = " ".join(digest[at : at + 8] for at in range(0, len(digest), 8))
        yield "Derived by feature set", "特征集", name, pieces
    scores = ", ".join(f"{name} {score:.3f}" for name, score in dataset.quality.items())
    by = "by quality settings of the province's own" if dataset.own_rules else ""
    yield "Quality scores", "质量得分", scores or "not checked", by
    bands = ", ".join(f"{name} {band}" for name, band in dataset.tables.items())
    if bands:
        yield "Tables behind it", "来源表", bands, "rows, as bands"


def _cells(column: CatalogueColumn, dataset: CatalogueDataset) -> Iterator[Cell]:
    """One column's row."""
    # Whether it may be asked stands where a narrow screen shows it without a push to the side.
    yield Cell(text=column.name, tone=Tone.CODE)
    yield _asked(column, dataset)
    yield Cell(text=column.zh or column.en or ABSENT, note=column.en if column.zh else column.kind)
    tone, zh = _GRADES.get(column.grade, (Tone.PLAIN, ""))
    yield Cell(text=column.grade or "none", note=zh, tone=tone)
    yield Cell(text=" · ".join(column.sample) or ABSENT, note=column.kind if column.zh else "")


def _asked(column: CatalogueColumn, dataset: CatalogueDataset) -> Cell:
    """Whether a study may compute on it."""
    if column.name == dataset.person:
        return Cell(text="groups only", note="仅用于按人归并")
    if column.refusal or dataset.refusal:
        return Cell(text="no", note=column.refusal or "dataset not served", tone=Tone.BAD)
    return Cell(text="yes", tone=Tone.GOOD)


def _side_by_side(catalogues: Sequence[NodeCatalogue], name: str) -> Section:
    """One dataset at every node."""
    there = holders(catalogues, name)
    return Section(
        name=f"dataset-{name.replace('_', '-')}",
        heading=f"Dataset {name} 数据集",
        columns=("Node", "May be asked", "Served", "Persons declared", "Year", "Lowest score", "Feature set"),
        rows=tuple(tuple(_node_cells(node, dataset)) for node, dataset in there.items()),
    )


def _node_cells(node: str, dataset: CatalogueDataset) -> Iterator[Cell]:
    """One node's row."""
    yield Cell(text=node)
    yield Cell(text=f"{len(dataset.may_be_asked)} of {len(dataset.columns) - 1} columns")
    rule = dataset.refusal.partition(":")[0] or "not registered"
    yield Cell(text="yes", tone=Tone.GOOD) if dataset.is_served else Cell(text="no", note=rule, tone=Tone.BAD)
    yield Cell(text=f"{dataset.declared_persons:,}", is_number=True)
    yield Cell(text=str(dataset.data_year), is_number=True)
    yield Cell(text=_lowest((dataset,)), is_number=True)
    yield Cell(text=short_feature_set(dataset) or ABSENT, tone=Tone.CODE)


def _differences(found: Sequence[Difference]) -> Section:
    """Everything that is not the same."""
    if not found:
        return Section(
            name="differences", heading="Differences 差异", sentences=("None: all nodes say the same.",)
        )
    return Section(
        name="differences",
        heading="Differences 差异",
        lead="What is not the same at all nodes, and what a study must mind.",
        columns=("What", "How it is where"),
        rows=tuple(
            (
                Cell(text=one.what, note=RULES_ZH.get(one.what, "")),
                Cell(text=_where(one), note=one.matters),
            )
            for one in found
        ),
    )


def _where(one: Difference) -> str:
    """How it is where, nodes that agree together."""
    grouped: dict[str, list[str]] = {}
    for node, told in one.by_node.items():
        grouped.setdefault(told, []).append(node)
    return "; ".join(f"{', '.join(nodes)}: {told}" for told, nodes in grouped.items())


def _columns(catalogues: Sequence[NodeCatalogue], name: str) -> Section:
    """Columns of a dataset: which nodes let a study compute on them."""
    there = holders(catalogues, name)
    datasets = tuple(there.values())
    first = {c.name: c for dataset in reversed(datasets) for c in dataset.columns}
    rows = []
    for column in column_names(datasets):
        free = [node for node, dataset in there.items() if column in dataset.may_be_asked]
        everywhere = len(free) == len(there)
        if any(column == dataset.person for dataset in datasets):
            where = Cell(text="groups only", note="仅用于按人归并")
        else:
            where = Cell(
                text="all nodes" if everywhere else ", ".join(free) or "nobody",
                tone=Tone.GOOD if everywhere else Tone.WARN,
            )
        what = first[column]
        words = Cell(text=what.zh or what.en or ABSENT, note=what.en if what.zh else "")
        rows.append((Cell(text=column, tone=Tone.CODE), where, words, Cell(text=what.kind)))
    return Section(
        name=f"columns-{name.replace('_', '-')}",
        heading=f"Columns of {name} 字段",
        columns=("Column", "May be asked at", "What it is", "Holds"),
        rows=tuple(rows),
    )
