"""The page of an answer: what was found, figures, tables, who contributed, what protects the persons."""

from __future__ import annotations

import datetime
from collections.abc import Iterator

from fedmed.report.answers.answer import Answer, Document
from fedmed.report.answers.meanings import meanings_section
from fedmed.report.answers.protection import when_alone, who_opens
from fedmed.report.answers.tables import table_section
from fedmed.report.page import Tile
from fedmed.report.sheet import Cell, Section, Sheet, render_sheet
from fedmed.report.units import ABSENT, byte_size, count, delta, duration, epsilon, plural


def render_answer(document: Document, answer: Answer) -> str:
    """Render the page.

    Args:
        document: The result document that the answer was read from.
        answer: What to show.

    Returns:
        One HTML document, UTF-8 text, that refers to nothing outside itself.

    Guarantees:
        Every text is escaped; the same arguments give the same page.
    """
    study = document["study"]
    kind = str(study["kind"])
    return render_sheet(
        Sheet(
            kicker=f"FedMed {kind}{' · simulation' if document.get('simulation') else ''}",
            title=str(study["title"]),
            finding=answer.finding,
            meta=tuple(_meta(document)),
            tiles=tuple(_tiles(document, answer)),
            sections=tuple(_sections(document, answer)),
            footer=f"Study {study['id']}, digest {study['digest']}. This page holds everything it shows and "
            "loads nothing. The same tables lie beside it as Parquet and CSV.",
        )
    )


def contributors(document: Document) -> tuple[str, ...]:
    """Nodes in the sums: those that were in every round, in roster order."""
    sets = [set(nodes) for nodes in document["aggregation"]["contributors"]]
    common = set.intersection(*sets) if sets else set()
    return tuple(node for node in document["aggregation"]["nodes"] if node in common)


def _meta(document: Document) -> Iterator[tuple[str, str]]:
    """What the page is about."""
    study = document["study"]
    yield "Purpose", str(study["purpose"]).replace("_", " ")
    yield "Owner", str(study["owner"])
    yield "Finished", _day(str(document["created"]))
    yield "Digest", str(study["digest"])[:12]


def _day(text: str) -> str:
    """An ISO time as day and minute, with its zone."""
    return datetime.datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M %Z")


def _tiles(document: Document, answer: Answer) -> Iterator[Tile]:
    """The answer's figures, then who contributed and what protects."""
    for name, value, note in answer.tiles:
        yield Tile(name=name, value=value, note=note)
    inside, of = contributors(document), document["aggregation"]["nodes"]
    note = ", ".join(inside) if len(inside) <= 6 else f"of {plural(len(of), 'node')} in the roster"
    yield Tile(name="Contributed", value=f"{len(inside)} of {len(of)}", note=note)
    privacy = document["privacy"]
    if privacy["exact"]:
        yield Tile(name="Protection", value="exact", note="no noise and no epsilon")
    else:
        yield Tile(
            name="Epsilon",
            value=epsilon(privacy["epsilon_spent"]),
            note=f"a person, of {epsilon(privacy['epsilon'])} planned",
        )


def _sections(document: Document, answer: Answer) -> Iterator[Section]:
    """Figures, tables, what the columns mean, how to read, who contributed, privacy."""
    for figure in answer.figures:
        yield Section(name=figure.plot.name, heading=figure.heading, lead=figure.hint, plots=(figure.plot,))
    for table in answer.tables:
        yield table_section(table)
    yield from meanings_section(document)
    yield Section(name="reading", heading="How to read it", sentences=answer.notes)
    yield _protection(document)
    yield _transport(document)


def _protection(document: Document) -> Section:
    """What protects the persons, as sentences."""
    return Section(
        name="privacy",
        heading="What protects the persons",
        sentences=tuple(_protection_sentences(document)),
    )


def _protection_sentences(document: Document) -> Iterator[str]:
    privacy = document["privacy"]
    yield from who_opens(document)
    if privacy["exact"]:
        yield (
            "The sums are exact: no noise and no epsilon. Every contributing province's policy allows it. "
            "Whoever reads the page learns these sums to the last unit."
        )
        return
    yield (
        f"Epsilon {epsilon(privacy['epsilon_spent'])} of {epsilon(privacy['epsilon'])} planned, delta "
        f"{delta(privacy['delta'])}, for one {privacy['unit']} with all rows: whoever sees everything here "
        "can hardly tell whether any one person was in the tables."
    )
    lost = plural(privacy["dropouts"], "dropout")
    yield (
        f"It holds with {lost} and {plural(privacy['colluders'], 'colluder')}; {when_alone(document)}, "
        f"epsilon {epsilon(privacy['fallback_epsilon'])} holds."
    )


def _transport(document: Document) -> Section:
    """Who contributed, who was lost, bytes and seconds."""
    aggregation = document["aggregation"]
    lost = {entry["node"]: entry["phase"] for entry in aggregation["lost_nodes"]}
    inside = set(contributors(document))
    rows = tuple(
        (
            Cell(text=node),
            Cell(text="yes" if node in inside else "no" if node in lost else "not in every round"),
            Cell(text=f"lost at {lost[node]}" if node in lost else ABSENT),
        )
        for node in aggregation["nodes"]
    )
    return Section(
        name="contributed",
        heading="Who contributed",
        columns=("Node", "In every sum", "Remark"),
        rows=rows,
        sentences=(
            f"{plural(aggregation['rounds'], 'round')} in {plural(aggregation['attempts'], 'attempt')}, "
            f"scheme {aggregation['scheme']}, {count(max(aggregation['values']))} values a round, "
            f"{byte_size(aggregation['bytes_total'])} in all, {duration(document['seconds']['total'])}.",
        ),
    )
