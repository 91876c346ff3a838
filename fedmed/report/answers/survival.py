"""A survival study's answer: curves with numbers at risk, the table behind them, and the log-rank test."""

from __future__ import annotations

import math
from collections.abc import Iterator

from fedmed.report.answers.answer import Answer, Document, Field, Figure, TidyTable
from fedmed.report.answers.curves import Steps, survival_plot
from fedmed.report.answers.meanings import Words, words_of
from fedmed.report.units import ABSENT

LEAST_P = 1e-4


def survival_answer(document: Document) -> Answer:
    """Read a survival study's result document.

    Args:
        document: Of `fedmed.question`, with a result as the survival program writes it.

    Guarantees:
        A point that is not shown is a blank in the table and ends the drawn curve.
    """
    result, words = document["result"], words_of(document)
    curves = tuple(_steps(group, by=result.get("by"), words=words) for group in result["curves"])
    return Answer(
        finding=_finding(curves, result, words),
        tables=(_table(result, words), *_log_rank_table(result)),
        figures=(_figure(curves, result, words),) if any(curve.times for curve in curves) else (),
        tiles=tuple(_tiles(curves, result, words)),
        notes=tuple(_notes(document)),
    )


def _figure(curves: tuple[Steps, ...], result: Document, words: Words) -> Figure:
    """The curves."""
    by, event = result.get("by"), result.get("event")
    groups = f" by {words.inside(by)}" if by else ""
    happened = f" The event: {words.inside(event)}." if event else ""
    return Figure(
        heading="Share without the event",
        hint=f"Kaplan-Meier curves{groups} with pointwise {_level(result)} intervals; below, persons still "
        f"at risk from each time on.{happened}",
        plot=survival_plot(
            curves,
            name="survival",
            axis=_axis(result, words),
            start=float(result.get("start", 0.0)),
            description=_words(curves),
        ),
    )


def _level(result: Document) -> str:
    """The level of the intervals."""
    return f"{100 * result['confidence']:g} %"


def _axis(result: Document, words: Words) -> str:
    """The name of the time axis: its unit, or the column where nobody knows one."""
    unit = words.unit(_time(result))
    return unit if unit == _time(result) else f"{unit}s".capitalize()


def _time(result: Document) -> str:
    """The column of times."""
    return str(result.get("time", "time"))


def _after(time: float, result: Document, words: Words) -> str:
    """A time in words: ``300 days``, or ``months 12`` where nobody knows a unit."""
    name = _time(result)
    unit = words.unit(name)
    return f"{name} {time:g}" if unit == name else f"{time:g} {unit}{'' if time == 1 else 's'}"


def _steps(group: Document, *, by: str | None, words: Words) -> Steps:
    """The curve of a group, named with the column that makes the groups."""
    points = group["points"]
    name = str(group["group"])
    return Steps(
        name=f"{by} {words.level(by, name)}" if by else name,
        times=tuple(float(point["time"]) for point in points),
        shares=tuple(point["survival"] for point in points),
        low=tuple(point["low"] for point in points),
        high=tuple(point["high"] for point in points),
        at_risk=tuple(_persons(point["at_risk"]) for point in points),
    )


def _persons(value: float | None) -> str | None:
    """Persons at risk; noisy ones are rounded and never below none."""
    return None if value is None else f"{max(0, round(value)):,}"


def _last(curve: Steps) -> tuple[float, float] | None:
    """The last point that is shown: time and share."""
    shown = [(t, s) for t, s in zip(curve.times, curve.shares, strict=True) if s is not None]
    return shown[-1] if shown else None


def _common_end(curves: tuple[Steps, ...]) -> float | None:
    """The last time that every curve shows; None when one shows nothing."""
    ends = [last[0] for curve in curves if (last := _last(curve)) is not None]
    return min(ends) if len(ends) == len(curves) and ends else None


def _finding(curves: tuple[Steps, ...], result: Document, words: Words) -> str:
    """Shares at the last time that every curve shows, and whether groups differ."""
    time = _common_end(curves)
    if time is None:
        return "Not every curve may be shown: too few persons or events."
    shares = ", ".join(
        f"{100 * share:.1f}\u00a0%{f' ({curve.name})' if len(curves) > 1 else ''}"
        for curve in curves
        if (share := _share_at(curve, time)) is not None
    )
    test = result.get("log_rank")
    verdict = "" if not test else f" Log-rank test of equal curves: p {p_text(test['p_value'])}."
    event = result.get("event")
    what = f"Without the event ({words.inside(event)})" if event else "Without the event"
    return f"{what} after {_after(time, result, words)}: {shares}.{verdict}"


def _share_at(curve: Steps, time: float) -> float | None:
    """The share at the last point up to a time."""
    points = zip(curve.times, curve.shares, strict=True)
    return next((share for end, share in reversed(list(points)) if end <= time), None)


def p_text(value: float | None) -> str:
    """A p-value in words: ``= 0.034``, ``< 0.0001``, or a dash."""
    if value is None:
        return ABSENT
    return f"< {LEAST_P:g}" if value < LEAST_P else f"= {value:.2g}"


def _words(curves: tuple[Steps, ...]) -> str:
    """The picture in words."""
    ends = ((curve.name, _last(curve)) for curve in curves)
    parts = [f"{name}: {100 * last[1]:.1f} % at {last[0]:g}" for name, last in ends if last]
    return "Survival curves; " + "; ".join(parts)


def _table(result: Document, words: Words) -> TidyTable:
    """The survival table: a row a group and time."""
    groups, by = tuple(result["curves"]), result.get("by")
    named = words.levels(by, (str(group["group"]) for group in groups)) if by else {}
    names = ("time", "at_risk", "events", "survival", "low", "high")
    fields = (
        Field(
            name="group", heading=words.name(by) if by else "Group", brief_heading=by or "Group", words=named
        ),
        Field(name="time", heading=_axis(result, words), decimals=_digits(groups)),
        Field(name="at_risk", heading="At risk", unit="persons", decimals=0),
        Field(name="events", heading="Events", unit="persons", decimals=0),
        Field(name="survival", heading="Share without", decimals=4),
        Field(name="low", heading=f"{_level(result)} from", decimals=4),
        Field(name="high", heading="to", decimals=4),
    )
    return TidyTable(
        name="survival",
        heading="The curve in numbers",
        lead="Persons at risk before each time, events in the interval that ends there, and the share "
        "without the event after it.",
        fields=fields,
        rows=tuple(
            (str(group["group"]), *(point[name] for name in names))
            for group in groups
            for point in group["points"]
        ),
    )


def _digits(groups: tuple[Document, ...]) -> int:
    """Digits after the point that the times need, at most three."""
    times = [float(point["time"]) for group in groups for point in group["points"]]
    return next((d for d in range(3) if all(math.isclose(t, round(t, d)) for t in times)), 3)


def _log_rank_table(result: Document) -> tuple[TidyTable, ...]:
    """The test, where there is one."""
    test = result.get("log_rank")
    if not test:
        return ()
    return (
        TidyTable(
            name="log_rank",
            heading="Log-rank test",
            lead="Whether the groups' curves differ by more than chance would make them.",
            fields=(
                Field(name="statistic", heading="Chi-square", decimals=3),
                Field(name="degrees", heading="Degrees of freedom", decimals=0),
                Field(name="p_value", heading="p"),
            ),
            rows=((test["statistic"], test["degrees"], test["p_value"]),),
        ),
    )


def _tiles(curves: tuple[Steps, ...], result: Document, words: Words) -> Iterator[tuple[str, str, str]]:
    """The share of each curve at the last time of all, so that tiles compare; the test."""
    common = _common_end(curves)
    for curve in curves[:4]:
        last = _last(curve)
        time = last[0] if last is not None and common is None else common
        share = None if time is None else _share_at(curve, time)
        value = ABSENT if share is None else f"{100 * share:.1f}\u00a0%"
        at = "" if share is None or time is None else f"without the event after {_after(time, result, words)}"
        yield ("All persons" if len(curves) == 1 else curve.name), value, at
    test = result.get("log_rank")
    if test:
        yield "Log-rank p", p_text(test["p_value"]).removeprefix("= "), "groups against each other"


def _notes(document: Document) -> Iterator[str]:
    """How to read it."""
    yield (
        "Who leaves without the event (end of observation) counts as at risk until then, and as neither "
        "with nor without the event afterwards."
    )
    if document["privacy"]["exact"]:
        yield (
            "Where points are missing, too few persons had the event or left, so that a step would tell "
            "about single persons; the next point that is shown holds them."
        )
    else:
        yield (
            "Counts carry privacy noise, so that numbers at risk may be off and need not fall in whole "
            "steps; the intervals hold sampling and noise together. A curve ends where noise hides how "
            "many are still at risk."
        )
