"""An answer on disk: each table as Parquet and CSV, each figure as SVG, and the page."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fedmed.errors import ConfigError
from fedmed.report.answers.answer import Answer, Document, TidyTable
from fedmed.report.answers.by_kind import answer_of
from fedmed.report.answers.page import render_answer
from fedmed.report.svg import standalone_svg

if TYPE_CHECKING:
    import pyarrow as pa

PAGE_NAME = "report.html"


def write_answer(folder: Path, document: Document) -> Path:
    """Write everything that an answer is for its readers.

    Args:
        folder: The run's folder; made when it is not there.
        document: The result document.

    Returns:
        The page's path; beside it lie ``<table>.parquet``, ``<table>.csv`` and ``<figure>.svg``.

    Guarantees:
        Each file replaces an older one whole or not at all; nothing is written when rendering fails.

    Raises:
        ConfigError: the folder cannot be written to, or the document is of an unknown kind.
    """
    contents = answer_files(document)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in contents.items():
            draft = folder / f".{name}.draft"
            draft.write_bytes(content)
            draft.replace(folder / name)
    except OSError as fault:
        raise ConfigError(
            f"cannot write to {folder}: {fault.strerror}; choose a folder that can be written"
        ) from fault
    return folder / PAGE_NAME


def answer_files(document: Document) -> Mapping[str, bytes]:
    """The files of `write_answer` by name, the page last, for a caller that writes them in its own way.

    Raises:
        ConfigError: the document is of an unknown kind.
    """
    answer = answer_of(document)
    page = render_answer(document, answer).encode()
    return {**_table_files(answer), **_figure_files(answer), PAGE_NAME: page}


def arrow_table(table: TidyTable) -> pa.Table:
    """A tidy table for Arrow; the unit and the heading of each column are its metadata."""
    import pyarrow as pa

    columns = [pa.array(table.column(field.name)) for field in table.fields]
    fields = [
        pa.field(field.name, array.type, metadata={"unit": field.unit, "heading": field.heading})
        for field, array in zip(table.fields, columns, strict=True)
    ]
    return pa.table(columns, schema=pa.schema(fields))


def csv_text(table: TidyTable) -> str:
    """A tidy table as CSV: a header of names, full precision, a blank is an empty field.

    Guarantees:
        Text that a spreadsheet would take for a formula is led by an apostrophe.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([field.name for field in table.fields])
    for row in table.rows:
        writer.writerow(["" if value is None else _harmless(value) for value in row])
    return out.getvalue()


def _harmless(value: Any) -> Any:  # whatever stands in a table
    """A value that a spreadsheet shows and does not run."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


def _table_files(answer: Answer) -> Mapping[str, bytes]:
    """Parquet and CSV of every table."""
    import pyarrow.parquet as pq

    files = {}
    for table in answer.tables:
        out = io.BytesIO()
        pq.write_table(arrow_table(table), out)
        files[f"{table.name}.parquet"] = out.getvalue()
        files[f"{table.name}.csv"] = csv_text(table).encode()
    return files


def _figure_files(answer: Answer) -> Mapping[str, bytes]:
    """Every figure's wide drawing as a file of its own."""
    return {f"{f.plot.name}.svg": standalone_svg(f.plot.wide).encode() for f in answer.figures}
