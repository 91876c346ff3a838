"""The tables as JSON Schema (2020-12), for tools that know no other description."""

from __future__ import annotations

from typing import Any, Final

from fedmed.data.nhsa.schema import Column, Kind, Schema, Table

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_FORMS: Final = {
    Kind.TEXT: {"type": "string"},
    Kind.INTEGER: {"type": "integer"},
    Kind.DECIMAL: {"type": "number"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.TIME: {"type": "string", "format": "date-time"},
    Kind.MONTH: {"type": "string", "pattern": r"^\d{4}-(0[1-9]|1[0-2])$"},
}


def json_schema(schema: Schema) -> dict[str, Any]:
    """Describe every table's row; `Any`: JSON.

    Args:
        schema: The tables.

    Returns:
        A document whose ``$defs`` hold one object a table, by its name, and one list of codes a code list,
        as ``codes.NAME``. Keys, grades, units and references, for which JSON Schema has no words, stand in
        entries that begin with ``x-``.
    """
    tables = {table.name: _row(table, schema.refused) for table in schema.tables}
    codes = {
        f"codes.{name}": {
            "title": codes.zh,
            "x-version": codes.version,
            "anyOf": [
                {"oneOf": [_code(code, words) for code, words in codes.codes.items()]},
                *([{"pattern": codes.pattern}] if codes.pattern else []),
            ],
        }
        for name, codes in schema.code_lists.items()
    }
    return {
        "$schema": DIALECT,
        "title": "FedMed: tables of medical insurance",
        "x-version": schema.version,
        "x-aliases": dict(schema.aliases),
        "x-refused": list(schema.refused),
        "x-grades": {grade.value: {"zh": zh, "en": en} for grade, (zh, en) in schema.grades.items()},
        "$defs": tables | codes,
    }


def _row(table: Table, refused: tuple[str, ...]) -> dict[str, Any]:
    """One table's row."""
    return {
        "type": "object",
        "title": table.zh,
        "description": table.en,
        "x-key": list(table.key),
        "x-month-of": table.month_of,
        "x-omop": list(table.omop),
        "x-fhir": list(table.fhir),
        "x-synthetic": table.synthetic,
        "required": [column.name for column in table.columns if column.required],
        "properties": {column.name: _cell(column) for column in table.columns},
        "not": {"anyOf": [{"required": [name]} for name in refused]},
    }


def _code(code: str, words: tuple[str, str]) -> dict[str, str]:
    """One code with its words."""
    return {"const": code, "title": words[0], "description": words[1]}


def _cell(column: Column) -> dict[str, Any]:
    """One column."""
    form: dict[str, Any] = dict(_FORMS[column.kind])
    if column.kind is Kind.TEXT:
        form["maxLength"] = column.size
    if column.kind is Kind.DECIMAL:
        form["x-digits"] = [column.size, column.scale]
    for key, value in (("pattern", column.pattern), ("minimum", column.low), ("maximum", column.high)):
        if value not in ("", None):
            form[key] = value
    if column.codes:
        form["allOf"] = [{"$ref": f"#/$defs/codes.{column.codes}"}]
    if not column.required:
        form = {"anyOf": [form, {"type": "null"}]}
    notes = {"x-unit": column.unit, "x-refers": column.refers, "x-expected": column.expected.value}
    described = {"title": column.zh, "description": column.en, "x-grade": column.grade.value}
    return {**form, **described, **{key: value for key, value in notes.items() if value}}
