"""A statistics study's answer: a tidy table for each statistic, matrices of flows, and monthly charts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from fedmed.report.answers.answer import Answer, Document, Field, Figure, TidyTable, Value
from fedmed.report.answers.matrix import flow_plot
from fedmed.report.answers.meanings import Words, words_of
from fedmed.report.answers.months import Month, month_plot
from fedmed.report.units import count, plural

OTHERS = "others"
"""Last level of every axis: all rows that no declared level takes."""
MOST_SERIES = 4
MOST_ACROSS = 9
"""Levels of a last axis up to which a page sets them side by side."""

_HEADINGS = {
    "probability": "Probability",
    "std_error": "Std. error",
    "conf_low": "95 % from",
    "conf_high": "to",
    "persons": "Persons",
    "rows": "Rows",
    "events": "Events",
    "expected": "Expected",
    "band_low": "Band from",
    "band_high": "to",
    "alarm": "Alarm",
}
_ONLY_IN_FILES = frozenset({"units", "cusum_above", "cusum_below"})
_ONLY_ON_PAGES = frozenset({"std_error", "expected"})
_WHOLE = frozenset({"persons", "rows", "events", "units", "alarm"})
_NAMES = {
    "count": "Count",
    "sum": "Sum",
    "mean": "Mean",
    "variance": "Variance",
    "histogram": "Histogram",
    "quantile": "Quantiles",
    "cross_table": "Cross-table",
    "ratio": "Ratio",
    "standardised_rate": "Standardised rate",
    "flow": "Flow",
    "monthly": "Monthly totals",
}


def statistics_answer(document: Document) -> Answer:
    """Read a statistics study's result document.

    Args:
        document: Of `fedmed.question`, with a result as the statistics program writes it. A cell that is
            not shown is null.

    Guarantees:
        Every row of a statistic stands in its file. The page leaves out rows of `OTHERS` that hold nothing.
    """
    words = words_of(document)
    # Amounts are said in their unit; a column that nobody knows stands for its own.
    found = tuple(
        {
            **one,
            "unit": words.unit(one["unit"]),
            "is_count": one["unit"] in ("persons", "rows"),
            "is_noisy": not document["privacy"]["exact"] and "std_error" in one["columns"],
        }
        for one in document["result"]["statistics"]
    )
    figures: list[Figure] = []
    for one in found:
        if one["kind"] == "flow":
            figures.append(_flow(one, words))
        elif one["kind"] == "monthly":
            figures.extend(_series(one, words))
    return Answer(
        finding=_finding(found, words),
        tables=tuple(_table(one, words) for one in found),
        figures=tuple(figures),
        tiles=tuple(_tiles(found, document["result"], words)),
        notes=tuple(_notes(found, document)),
    )


def _decimals(one: Document) -> int:
    """Digits of an estimate on the page; files hold all."""
    if one["is_count"]:
        return 0
    if one["kind"] == "ratio":
        return 4
    has_noise = "std_error" in one["columns"]
    return max(int(one["decimals"]), 0 if has_noise else 2 if one["kind"] != "sum" else 0)


def _table(one: Document, words: Words) -> TidyTable:
    """One statistic as a tidy table: axes, estimate, interval, persons."""
    columns: dict[str, Any] = dict(one["columns"])
    digits = _decimals(one)
    unit = _unit_text(one)
    fields = [
        Field(name=axis, heading=words.name(axis), brief_heading=axis, words=words.levels(axis, levels))
        for axis, levels in one["levels"].items()
    ]
    order = [name for name in columns if name == "probability"]
    order += ["estimate", *(name for name in columns if name not in ("probability", "estimate"))]
    headings, hidden = {**_HEADINGS, "estimate": unit}, set(_ONLY_IN_FILES)
    if one["interval"] == "grid":
        headings |= {"conf_low": f"{unit}: step from"}
        hidden.add("estimate")
    if one["is_count"] and one["unit"] == "persons":
        hidden.add("persons")
    for name in order:
        fields.append(
            Field(
                name=name,
                heading=headings.get(name, name),
                unit=unit if name not in _WHOLE and name != "probability" else "",
                decimals=0 if name in _WHOLE else digits,
                shown=name not in hidden,
                is_brief=name not in _ONLY_ON_PAGES,
            )
        )
    rows = zip(*one["by"].values(), *(columns[name] for name in order), strict=True)
    axes = tuple(one["by"])
    last = axes[-1] if len(axes) >= 2 else None
    is_narrow = last is not None and len(one["levels"][last]) <= MOST_ACROSS + 1
    return TidyTable(
        name=str(one["name"]),
        heading=_title(one),
        lead=_lead(one, words),
        fields=tuple(fields),
        rows=tuple(rows),
        across=last if is_narrow and "probability" not in columns else None,
        quiet=tuple((axis, OTHERS) for axis in axes),
    )


def _unit_text(one: Document) -> str:
    """The unit of the estimate for people."""
    unit = str(one["unit"])
    return "Ratio" if unit == "1" else unit.capitalize() if one["is_count"] else unit


def _lead(one: Document, words: Words) -> str:
    """What a row is."""
    axes = ", ".join(words.inside(axis) for axis in one["by"])
    by = f"By {axes}. " if axes else ""
    what = {
        "noise": "The interval says where the number without noise lies, with 95 %.",
        "grid": "The quantile lies in this step of the declared grid; in files the estimate is its middle.",
        "sampling": "The 95 % interval holds the rate's own variation, and the noise if there is any.",
        "none": "Exact.",
    }[one["interval"]]
    unit = "A ratio, without a unit" if one["unit"] == "1" else f"Unit: {one['unit']}"
    return f"{by}{unit}. {what}"


def _cells(one: Document) -> list[tuple[tuple[str, ...], int]]:
    """Levels and row of every cell for a headline, from the lowest to the highest.

    These are cells of declared levels that may be shown, of quantiles those of the most central probability,
    and with noise those that it leaves apart from zero.
    """
    columns, values = one["columns"], _estimates(one)
    levels = zip(*one["by"].values(), strict=True) if one["by"] else iter([()] * len(values))
    ends = [columns.get(name, values) for name in ("conf_low", "conf_high")]
    probabilities = columns.get("probability", [0.5] * len(values))
    central = _central(probabilities)
    rows = zip(levels, values, *ends, probabilities, strict=True)
    found = [
        (value, cell, place)
        for place, (cell, value, low, high, probability) in enumerate(rows)
        if value is not None
        and OTHERS not in cell
        and probability == central
        and not (one["is_noisy"] and low <= 0 and (high >= 0 or one["is_count"]))
    ]
    return [(cell, place) for _, cell, place in sorted(found, key=lambda each: each[0])]


def _central(probabilities: Iterable[float]) -> float:
    """The probability nearest to one half."""
    return min(probabilities, key=lambda p: abs(p - 0.5))


def _estimates(one: Document) -> list[float | None]:
    """The column of estimates."""
    return list(one["columns"]["estimate"])


def _title(one: Document) -> str:
    """The statistic's name for people, with its kind where the name does not say it."""
    name, kind = str(one["name"]).replace("_", " "), _NAMES[one["kind"]]
    said = name[0].upper() + name[1:]
    return said if kind.split()[0].lower() in name.lower() else f"{said} ({kind.lower()})"


def _finding(found: tuple[Document, ...], words: Words) -> str:
    """The first statistic's highest and lowest cell, in words; of noisy ones what noise does not hide."""
    one = found[0]
    cells = _cells(one)
    name = _title(one)
    if "probability" in one["columns"]:
        name = f"{name} at {_central(one['columns']['probability'])!r}"
    if not cells:
        return f"{name}: {'noise hides every declared cell' if one['is_noisy'] else 'no cell may be shown'}."
    if len(cells) == 1:
        return f"{name}: {_said(one, cells[0], words)}."
    low, high = _said(one, cells[0], words), _said(one, cells[-1], words)
    return f"{name} by {' and '.join(words.inside(axis) for axis in one['by'])}: from {low} to {high}."


def _said(one: Document, cell: tuple[tuple[str, ...], int], words: Words) -> str:
    """A cell's figure with its unit, and behind it which cell it is; of a grid the step."""
    (levels, place), columns = cell, one["columns"]
    is_step, digits = one["interval"] == "grid", _decimals(one)
    ends = ("conf_low", "conf_high") if is_step else ("estimate",)
    figure = "–".join(f"{columns[name][place]:,.{digits}f}".replace("-", "−") for name in ends)
    unit = "" if one["unit"] == "1" else f" {one['unit']}"
    pairs = zip(one["by"], levels, strict=True)
    where = ", ".join(f"{words.inside(axis)} {words.level(axis, level)}" for axis, level in pairs)
    return f"{figure}{unit} ({where})" if where else f"{figure}{unit}"


def _flow(one: Document, words: Words) -> Figure:
    """The matrix of a flow; rows and columns of other places only where they hold something."""
    origin, place = tuple(one["by"])
    values = dict(zip(zip(*one["by"].values(), strict=True), _estimates(one), strict=True))
    rows = [a for a in one["levels"][origin] if a != OTHERS or _holds(values, a, 0)]
    columns = [b for b in one["levels"][place] if b != OTHERS or _holds(values, b, 1)]
    cells = tuple(tuple(values[a, b] for b in columns) for a in rows)
    # Both axes have the same places, whichever column says what they are.
    known = {**words.levels(place, columns), **words.levels(origin, rows)}
    away = sum(v for (a, b), v in values.items() if v is not None and a != b)
    return Figure(
        heading=f"{_title(one)}: from {words.inside(origin)} to {words.inside(place)}",
        hint="Rows: from; columns: to. Grey, on the diagonal: who stays at home. Blue: who travels; the "
        "darker, the more. Hatched: not shown.",
        plot=flow_plot(
            cells,
            names=(tuple(known.get(a, a) for a in rows), tuple(known.get(b, b) for b in columns)),
            name=f"flow-{one['name']}",
            axes_names=(words.name(origin), words.name(place)),
            description=f"Matrix from {origin} to {place}; {away:,.0f} off the diagonal",
        ),
    )


def _holds(values: dict[tuple[str, ...], float | None], level: str, axis: int) -> bool:
    """Whether any cell of a level holds something."""
    return any(value for cell, value in values.items() if cell[axis] == level)


def _series(one: Document, words: Words) -> Iterator[Figure]:
    """A chart for each of the first series of monthly totals."""
    columns, axis = one["columns"], tuple(one["by"])[-1]
    cells = list(zip(*one["by"].values(), strict=True))
    series = [cell for cell in dict.fromkeys(cell[:-1] for cell in cells) if OTHERS not in cell]
    for number, key in enumerate(series[:MOST_SERIES]):
        places = [p for p, cell in enumerate(cells) if cell[:-1] == key and cell[-1] != OTHERS]
        months = tuple(
            Month(
                name=cells[p][-1],
                value=columns["estimate"][p],
                low=columns.get("band_low", {p: None})[p],
                high=columns.get("band_high", {p: None})[p],
                above=columns.get("cusum_above", {p: None})[p],
                below=columns.get("cusum_below", {p: None})[p],
                is_alarm=bool(columns.get("alarm", {p: 0})[p]),
            )
            for p in places
        )
        named = ", ".join(words.level(axis, level) for axis, level in zip(one["by"], key, strict=False))
        alarms = [month.name for month in months if month.is_alarm]
        said = f"Warned of: {', '.join(alarms)}." if alarms else "No month warned of."
        hint = f"{_rule_text(one, months)} {said}" if "band_low" in columns else "What came, month by month."
        yield Figure(
            heading=f"{_title(one)} by {words.inside(axis)}{f': {named}' if named else ''}",
            hint=hint,
            plot=month_plot(
                months,
                name=f"months-{one['name']}-{number}",
                axis=_unit_text(one),
                description=f"Monthly {one['name']}. {said}",
                limit=one.get("rule", {}).get("limit"),
            ),
        )


def _rule_text(one: Document, months: tuple[Month, ...]) -> str:
    """What the picture of a warning shows; a result of an older version does not say its rule."""
    rule = one.get("rule") or None
    band = "Grey: where a month by itself lies with 95 %; being outside is no alarm."
    if rule is None:
        return f"{band} Diamond: a month that the declared rule warns of."
    since = months[rule["baseline_months"]].name
    return (
        f"{band} Below: departures from the expected line, in standard deviations of a month, as far as they "
        f"exceed {rule['allowance']:g}, added up since {since}. A sum beyond {rule['limit']:g} (dashed) is "
        "an alarm (diamond) and starts again at zero."
    )


def _tiles(found: tuple[Document, ...], result: Document, words: Words) -> Iterator[tuple[str, str, str]]:
    """How much is here."""
    values: list[Value] = [value for one in found for value in _estimates(one)]
    blanks = sum(value is None for value in values)
    yield "Statistics", str(len(found)), f"in one round, {plural(len(values), 'cell')}"
    yield "Blank cells", count(blanks), "see how to read it"
    yield f"{words.rows.capitalize()} a person", count(int(result["max_rows_per_person"])), "count at most"


def _notes(found: tuple[Document, ...], document: Document) -> Iterator[str]:
    """How to read it."""
    minimum = document["result"].get("minimum_cell")
    if minimum is not None:
        yield (
            f"A blank cell holds nobody, or fewer than {minimum} persons, or values that all but fewer than "
            "that have at one declared bound, or is hidden so that no such number can be worked out from the "
            "others: a blank does not say which."
        )
    elif document["privacy"]["exact"]:
        yield "Small cells are not hidden in this result: show it to nobody outside the study."
    else:
        yield (
            "Numbers carry privacy noise: a count may be negative or hold a fraction, and rows need not add "
            "up. A blank means that noise hides the number; of a mean, that half of its range is left."
        )
    yield f"Level {OTHERS}: rows with a value that no declared level names, or without one."
    yield (
        f"Of a person with more than {document['result']['max_rows_per_person']:,} rows the others do not "
        "count; values beyond their declared bounds count as the bound."
    )
    if any(one["kind"] == "monthly" for one in found):
        yield (
            "A warning follows the rule that the study declared before it ran. It adds up departures, so a "
            "month inside the band may take the sum past its limit, and one outside need not."
        )
