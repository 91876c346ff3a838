"""The quality gate: run every rule over a province's tables in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from fedmed.data.nhsa.folder import OpenFolder, open_folder
from fedmed.data.nhsa.queries import Query, compile_queries
from fedmed.data.nhsa.results import Outcome, QualityReport, TableFacts, judge, not_checked, shown_count
from fedmed.data.nhsa.rules import Rule, rules
from fedmed.data.nhsa.schema import schema
from fedmed.data.nhsa.settings import LEAST_CELL, QualitySettings

ROWS_PER_MIB: Final = 2_000
"""Rows of the largest table that one part may hold in a MiB of the engine's memory; grouping a fee line by
its key takes about 150 bytes, and half of the memory is left to the scan."""

Say = Callable[[str], None]


def check_folder(
    folder: Path,
    settings: QualitySettings,
    *,
    memory_mib: int = 1024,
    threads: int = 2,
    say: Say | None = None,
) -> QualityReport:
    """Check a province's tables.

    Args:
        folder: Holds them as `fedmed.data.nhsa.folder` describes.
        settings: How strict the gate is.
        memory_mib: Bound of the engine's memory, MiB.
        threads: Its threads.
        say: Told in one line what is looked at; None = nobody.

    Returns:
        Counts, rates and scores.

    Raises:
        DataContractError: the tables cannot be read at all, or name persons outright.
        StoreFailed: ``memory_mib`` is too small.

    Guarantees:
        No row, no value and no count from 1 to 10 is in the report; nothing is written to disk.
    """
    with open_folder(folder, memory_mib=memory_mib, threads=threads) as opened:
        return check_opened(opened, settings, memory_mib=memory_mib, say=say)


def check_opened(
    opened: OpenFolder, settings: QualitySettings, *, memory_mib: int, say: Say | None = None
) -> QualityReport:
    """Check tables that an engine has views of, wherever they lie.

    Args:
        opened: The tables.
        settings: How strict the gate is.
        memory_mib: Bound of the engine's memory, MiB.
        say: As for `check_folder`; so are result, errors and guarantees.
    """
    present = {name: table.columns for name, table in opened.tables.items()}
    queries = compile_queries(rules(), present, settings)
    found: dict[str, Outcome] = {}
    for i, query in enumerate(queries, start=1):
        if say is not None:
            say(f"{query.rules[0].table}: {len(query.rules)} rules ({i} of {len(queries)})")
        for outcome in _run(opened, query, settings, parts=_parts(opened, query, memory_mib)):
            found[outcome.rule.id] = outcome
    outcomes = [found.get(rule.id, not_checked(rule)) for rule in rules()]
    return QualityReport(
        settings=settings,
        tables=_tables(opened),
        outcomes=(*_missing_columns(opened, settings), *outcomes),
        delay_days=_delay(opened),
    )


def _run(opened: OpenFolder, query: Query, settings: QualitySettings, *, parts: int) -> Iterator[Outcome]:
    """Run a query part by part and add up."""
    totals = [0] * (2 * len(query.rules))
    for number in range(parts):
        for i, count in enumerate(opened.numbers(query.part(number, parts))):
            totals[i] += count
    for i, rule in enumerate(query.rules):
        checked, failing = totals[2 * i : 2 * i + 2]
        rows = opened.tables[rule.table].rows
        yield judge(rule, checked=checked, failing=failing, settings=settings, rows=rows)


def _parts(opened: OpenFolder, query: Query, memory_mib: int) -> int:
    """In how many parts a query fits into the memory."""
    if not query.has_parts:
        return 1
    largest = max(opened.tables[table].rows for rule in query.rules for table, _ in rule.needs)
    return 1 + largest // (memory_mib * ROWS_PER_MIB)


def _missing_columns(opened: OpenFolder, settings: QualitySettings) -> Iterator[Outcome]:
    """A finding for each required column of a table that is there without it."""
    for name, table in opened.tables.items():
        for column in schema().table(name).columns:
            if column.required and column.name not in table.columns:
                rule = Rule(
                    kind="column_missing",
                    table=name,
                    column=column.name,
                    source=name,
                    needs=frozenset(),
                    checked="",
                    failing="",
                )
                yield judge(rule, checked=table.rows, failing=table.rows, settings=settings)


def _tables(opened: OpenFolder) -> tuple[TableFacts, ...]:
    """What may be shown of the tables."""
    return tuple(
        TableFacts(
            name=name,
            rows=shown_count(table.rows),
            files=0 if table.files is None else len(table.files.paths),
            aliases=table.aliases,
            unknown=table.unknown,
        )
        for name, table in opened.tables.items()
    )


def _delay(opened: OpenFolder) -> int | None:
    """Median days from a visit's end to its settlement; approximate, so that memory stays bounded."""
    setl = opened.tables.get("setl")
    if setl is None or not {"enddate", "setl_time"} <= setl.columns or setl.rows < LEAST_CELL:
        return None
    days = "date_diff('day', enddate, setl_time::DATE)"
    return opened.numbers(f"SELECT approx_quantile({days}, 0.5) FROM setl")[0]  # noqa: S608  # fixed text
