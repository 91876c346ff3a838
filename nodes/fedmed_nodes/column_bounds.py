"""The public numbers that a study fixes for its columns, as an operator reads them before a yes.

A threshold decides who counts as an outcome, and bounds decide what one person can add to a sum: both are in
the study's bytes, and neither depends on a row.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from fedmed.study import RegressionStudy, StudySpec, TrainingStudy
from fedmed.study.training import FeatureTable
from fedmed.types import FeatureKind

_MOST_NAMED: Final = 4
"""Levels that are named; of more the first ones and the number are given."""


def bounds_of(spec: StudySpec) -> Mapping[str, str]:
    """What a study fixes for each column, in signs that are the same in every language.

    Args:
        spec: The study.

    Returns:
        By column ``>= 6`` (threshold of an outcome), ``0..120`` (values outside count as the bound; ``log``
        where logarithms are taken after it) or the levels; columns without any are left out.
    """
    return dict(_bounds(spec))


def _bounds(spec: StudySpec) -> Iterator[tuple[str, str]]:
    """Column and bounds, for the kinds of study that name them by column."""
    if isinstance(spec, TrainingStudy):
        yield from ((f.name, text) for f in spec.data.features if (text := _feature(f)))
        label = spec.data.label
        if label.at_least is not None:
            yield label.column, f">= {label.at_least:g}"
    if isinstance(spec, RegressionStudy):
        fit = spec.regression
        yield from ((t.column, _levels(t.levels) or _range(t.low, t.high)) for t in fit.terms)
        if fit.exposure is not None:
            yield fit.exposure.column, _range(fit.exposure.low, fit.exposure.high)
        if fit.outcome is not None and fit.outcome.at_least is not None:
            yield fit.outcome.column, f">= {fit.outcome.at_least:g}"
        elif fit.outcome is not None and (text := _range(fit.outcome.low, fit.outcome.high)):
            yield fit.outcome.column, text


def _feature(feature: FeatureTable) -> str:
    """Bounds of a number, levels of a category; nothing for codes."""
    if feature.kind is FeatureKind.NUMBER:
        return _range(feature.low, feature.high) + (", log" if feature.log else "")
    return _levels(feature.categories)


def _range(low: float | None, high: float | None) -> str:
    """``0..120``; empty where there is none."""
    return "" if low is None or high is None else f"{low:g}..{high:g}"


def _levels(levels: Sequence[str]) -> str:
    """Up to four levels by name, of more the number as well."""
    more = f", ... ({len(levels)})" if len(levels) > _MOST_NAMED else ""
    return ", ".join(levels[:_MOST_NAMED]) + more
