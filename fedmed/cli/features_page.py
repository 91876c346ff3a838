"""A feature set for people and programs: the terminal's table, the JSON document, the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fedmed.data.feature_sets.definition import Definition, FeatureSet, Measure
from fedmed.report.page import Tile
from fedmed.report.sheet import Cell, Section, Sheet, Tone
from fedmed.report.units import ABSENT

_MEASURES = {
    Measure.ATTRIBUTE: ("attribute", "属性"),
    Measure.AGE: ("age at the year's end", "年末年龄"),
    Measure.COUNT: ("count", "计数"),
    Measure.SUM: ("sum", "合计"),
    Measure.DISTINCT: ("different values", "去重计数"),
    Measure.CODES: ("which codes occur", "出现的编码"),
}


def features_document(features: FeatureSet) -> dict[str, Any]:
    """The set for programs; `Any`: a JSON document."""
    return {
        "format": "fedmed/feature-set/1",
        "name": features.name,
        "version": features.version,
        "reference": features.reference,
        "features": [_entry(one) for one in features.features],
        "outcomes": [_entry(one) for one in features.outcomes],
    }


def features_text(features: FeatureSet) -> str:
    """The set for the terminal: one line a column."""
    width = max(len(name) for name in features.columns)
    lines = [f"feature_set = {features.reference}", "", "features of year t:"]
    lines += [f"  {one.name:<{width}}  {made_of(one)}; {bounds_text(one)}" for one in features.features]
    lines += ["", "outcomes of year t + 1:"]
    lines += [f"  {one.name:<{width}}  {made_of(one)}; {bounds_text(one)}" for one in features.outcomes]
    lines += ["", "--html FILE makes a page; FOLDER --year --region --out derives the rows"]
    return "\n".join(lines)


def features_sheet(features: FeatureSet) -> Sheet:
    """Describe the set, as a page."""
    inputs = sum(one.feature.inputs for one in features.features)
    return Sheet(
        kicker="FedMed · 特征集",
        title=f"Feature set {features.name} {features.zh}",
        finding=(
            "One row a person: features from the claims of year t, outcomes from year t + 1. Every bound and "
            "vocabulary below is public; none comes from rows."
        ),
        meta=(("Version", features.version), ("Digest", _pieces(features.digest.hex()))),
        tiles=(
            Tile(name="Features", value=str(len(features.features)), note="特征"),
            Tile(name="Model inputs", value=str(inputs), note="模型输入"),
            Tile(name="Outcomes", value=str(len(features.outcomes)), note="次年结果"),
            Tile(name="Tables read", value=str(len(features.needs)), note="来源表"),
        ),
        sections=(
            _section("features", "Features 特征", "Of year t.", features.features),
            _section("outcomes", "Outcomes 次年结果", "Of year t + 1.", features.outcomes),
            _rules(),
            *(_words(one) for one in features.features if one.measure is Measure.CODES),
        ),
        footer="Studies name the set and its digest; a province that derives by another one refuses them.",
    )


def _pieces(digest: str) -> str:
    """A digest in pieces, so that a narrow screen can break it."""
    return " ".join(digest[at : at + 8] for at in range(0, len(digest), 8))


def made_of(one: Definition) -> str:
    """What a column is made of, in a line."""
    source = f"{one.table}.{one.column}" if one.column else one.table
    where = [f"{column} in {', '.join(values)}" for column, values in one.where.items()]
    where += ["care outside the home regions"] if one.away else []
    return f"{_MEASURES[one.measure][0]} of {source}" + (f" where {' and '.join(where)}" if where else "")


def bounds_text(one: Definition) -> str:
    """Public bounds or values of a column, in a few words."""
    if one.measure is Measure.CODES:
        return f"{len(one.vocabulary)} words of {one.signs} signs"
    if one.measure is Measure.ATTRIBUTE:
        return f"one of {', '.join(one.categories)}"
    unit = f" {one.unit}" if one.unit else ""
    return f"{one.low:,.0f} to {one.high:,.0f}{unit}{', log' if one.log else ''}"


def _entry(one: Definition) -> dict[str, Any]:
    """One column; `Any`: a JSON document."""
    return {
        "name": one.name,
        "zh": one.zh,
        "en": one.en,
        "measure": one.measure.value,
        "made_of": made_of(one),
        "bounds": bounds_text(one),
        "vocabulary": list(one.vocabulary),
    }


def _section(name: str, heading: str, lead: str, columns: tuple[Definition, ...]) -> Section:
    """A table of columns."""
    return Section(
        name=name,
        heading=heading,
        lead=lead,
        columns=("Column", "Public bounds", "What it is", "Made of", "Rows that count"),
        rows=tuple(tuple(_cells(one)) for one in columns),
    )


def _cells(one: Definition) -> Iterator[Cell]:
    """One column's row."""
    yield Cell(text=one.name, tone=Tone.CODE)
    yield Cell(text=bounds_text(one))
    yield Cell(text=one.zh, note=one.en)
    yield Cell(text=f"{one.table}.{one.column}" if one.column else one.table, note=_MEASURES[one.measure][1])
    where = [f"{column}: {', '.join(values)}" for column, values in one.where.items()]
    yield Cell(text="; ".join([*where, *(["care away from home"] if one.away else [])]) or ABSENT)


def _rules() -> Section:
    """What holds for every column."""
    return Section(
        name="rules",
        heading="What holds for all 通用规则",
        sentences=(
            "A person counts at the node where insured in December of year t; whoever moves is one node's.",
            "A visit belongs to the year in which it ends. Reversals are taken off sums and counts; a visit "
            "whose settlements were all reversed counts for nothing.",
            "Whoever has no claims has zeros; an unknown age or attribute stays unknown.",
            "Values beyond a bound count as the bound, when a study reads them.",
            "Whoever leaves or dies in year t + 1 keeps the outcomes of the claims until then.",
        ),
    )


def _words(one: Definition) -> Section:
    """A vocabulary."""
    return Section(
        name=f"words-{one.name}",
        heading=f"Words of {one.name} {one.zh}",
        lead=f"The first {one.signs} signs of {one.table}.{one.column}; other codes are not looked at.",
        sentences=(", ".join(one.vocabulary),),
    )
