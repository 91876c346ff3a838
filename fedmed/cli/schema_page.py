"""The page of ``fedmed data schema``: tables, columns, code lists and rules, in Chinese and English."""

from __future__ import annotations

from collections.abc import Iterator

from fedmed.data.nhsa.rules import rule_kinds, rules
from fedmed.data.nhsa.schema import CodeList, Column, Expected, Grade, Kind, Schema, Table
from fedmed.report.page import Tile
from fedmed.report.sheet import Cell, Section, Sheet, Tone
from fedmed.report.units import ABSENT

_TONES = {
    Grade.PUBLIC: Tone.GOOD,
    Grade.INTERNAL: Tone.INFO,
    Grade.SENSITIVE: Tone.WARN,
    Grade.RESTRICTED: Tone.BAD,
}
_FILLED = {
    Expected.ALWAYS: "expected",
    Expected.INPATIENT: "expected for stays",
    Expected.NOWHERE: "may be empty",
}


def schema_sheet(schema: Schema) -> Sheet:
    """Describe the tables, as a page."""
    columns = sum(len(table.columns) for table in schema.tables)
    return Sheet(
        kicker="FedMed · 数据表结构",
        title="Tables of medical insurance 医疗保险数据表",
        finding=(
            "What a province registers, in the field names of the National Healthcare Security "
            "Administration. fedmed data check tells whether its tables are so."
        ),
        meta=(("Version", schema.version), ("Refused outright", ", ".join(schema.refused))),
        tiles=(
            Tile(name="Tables", value=str(len(schema.tables)), note="数据表"),
            Tile(name="Columns", value=str(columns), note="字段"),
            Tile(name="Code lists", value=str(len(schema.code_lists)), note="值域"),
            Tile(name="Rules", value=str(len(rules())), note="校验规则"),
        ),
        sections=(
            _grades(schema),
            *(_table(table) for table in schema.tables),
            *_code_lists(schema),
            _spellings(schema),
            _kinds(),
        ),
        footer=f"Made from the schema that FedMed ships, version {schema.version}.",
    )


def kind_text(column: Column) -> str:
    """A column's type as the schema file writes it."""
    if column.kind is Kind.DECIMAL:
        return f"decimal({column.size},{column.scale})"
    return f"text({column.size})" if column.kind is Kind.TEXT else column.kind.value


def filled_text(column: Column) -> str:
    """Whether a column must, should or may be filled."""
    if column.required:
        return "required"
    return _FILLED[column.expected]


def values_text(column: Column) -> str:
    """What its values may be, in a few words."""
    parts = []
    if column.codes:
        parts.append(f"codes {column.codes}")
    if column.pattern:
        parts.append(column.pattern)
    if column.low is not None or column.high is not None:
        parts.append(f"{column.low:,} to {column.high:,}")
    if column.refers:
        parts.append(f"of {column.refers}")
    return "; ".join(parts)


def _grades(schema: Schema) -> Section:
    """What the grades mean."""
    rows = tuple(
        (Cell(text=grade.value, tone=_TONES[grade]), Cell(text=zh), Cell(text=en))
        for grade, (zh, en) in schema.grades.items()
    )
    return Section(
        name="grades",
        heading="Grades 分级",
        lead="Each column has one; a province's policy says which grades a study may read.",
        columns=("Grade", "分级", "Meaning"),
        rows=rows,
    )


def _table(table: Table) -> Section:
    """One table's columns."""
    key = f"Key: {', '.join(table.key)}. " if table.key else ""
    month = f"Files by month of {table.month_of}. " if table.month_of else ""
    others = (("OMOP", table.omop), ("FHIR", table.fhir))
    like = "; ".join(f"{model} {', '.join(names)}" for model, names in others if names)
    return Section(
        name=f"table-{table.name.replace('_', '-')}",
        heading=f"{table.name} {table.zh}",
        lead=f"{table.en}. {key}{month}{f'Like {like}.' if like else ''}",
        columns=("Column", "What it is", "Type", "Filled", "Values", "Grade"),
        rows=tuple(tuple(_cells(column, is_key=column.name in table.key)) for column in table.columns),
    )


def _cells(column: Column, *, is_key: bool) -> Iterator[Cell]:
    """One column's row."""
    yield Cell(text=column.name, note="key" if is_key else "", tone=Tone.CODE)
    yield Cell(text=column.zh, note=column.en)
    yield Cell(text=kind_text(column), note=column.unit if column.unit != "1" else "")
    yield Cell(text=filled_text(column))
    yield Cell(text=values_text(column) or ABSENT)
    yield Cell(text=column.grade.value, tone=_TONES[column.grade])


def _code_lists(schema: Schema) -> Iterator[Section]:
    """One section a code list."""
    for codes in schema.code_lists.values():
        yield Section(
            name=f"codes-{codes.name.replace('_', '-')}",
            heading=f"Codes: {codes.name} {codes.zh}",
            lead=_edition(codes),
            columns=("Code", "含义", "Meaning"),
            rows=tuple(
                (Cell(text=code, tone=Tone.CODE), Cell(text=zh), Cell(text=en))
                for code, (zh, en) in codes.codes.items()
            ),
        )


def _edition(codes: CodeList) -> str:
    """Edition and further codes of a list."""
    more = f" Codes of the form {codes.pattern} are regional and allowed as well." if codes.pattern else ""
    return f"Edition {codes.version}.{more}"


def _spellings(schema: Schema) -> Section:
    """The alias table."""
    return Section(
        name="spellings",
        heading="Other spellings 字段别名",
        lead="Read as the column that they mean, in capitals or not.",
        columns=("In messages and regional systems", "Column"),
        rows=tuple(
            (Cell(text=spelling, tone=Tone.CODE), Cell(text=name, tone=Tone.CODE))
            for spelling, name in schema.aliases.items()
        ),
    )


def _kinds() -> Section:
    """The kinds of rules."""
    counted = {name: sum(rule.kind == name for rule in rules()) for name in rule_kinds()}
    rows = tuple(
        (
            Cell(text=kind.name, tone=Tone.CODE),
            Cell(text=kind.zh, note=kind.en),
            Cell(text=kind.dimension.value),
            Cell(text=str(counted[kind.name]) if counted[kind.name] else ABSENT, is_number=True),
            Cell(text=kind.remedy),
        )
        for kind in rule_kinds().values()
    )
    return Section(
        name="rules",
        heading="Rules 校验规则",
        lead="A rule's id is its kind and the place it looks at, as in bad_code_value:setl.med_type.",
        columns=("Kind", "What it finds", "Lowers", "Rules", "What to do"),
        rows=rows,
    )
