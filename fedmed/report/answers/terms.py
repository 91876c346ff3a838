"""Terms of a model as a page calls them: in words where the columns have some, short beside a plot."""

from __future__ import annotations

from collections.abc import Mapping

from fedmed.report.answers.meanings import Words
from fedmed.report.svg import LABEL_COLUMNS


def term_words(term: str, words: Words, references: Mapping[str, str]) -> str:
    """A term in full: ``Sex: 2 female, against 1 male``; a number with what one unit of it is.

    Args:
        term: As the result has it: ``age``, ``hosp_lv[3]`` or ``hosp_lv=3``.
        words: Of the document.
        references: Reference level of each category; one that is missing is not said.
    """
    column, level = _parts(term)
    name = words.name(column)
    if not level:
        unit = words.unit(column)
        return name if unit == column else f"{name} (per {unit})"
    against = references.get(column)
    after = f", against {words.level(column, against)}" if against else ""
    return f"{name}: {words.level(column, level)}{after}"


def term_label(term: str, words: Words) -> str:
    """A term short enough for a plot: in words as far as they fit, else by its column and code."""
    column, level = _parts(term)
    names = (words.name(column), column)
    said = words.level(column, level) if level else ""
    choices = [f"{name}: {text}" for text in (said, level) for name in names] if level else names
    return next((choice for choice in choices if len(choice) <= LABEL_COLUMNS), choices[-1])


def _parts(term: str) -> tuple[str, str]:
    """Column and level of a term; a number has no level."""
    name, sign, level = term.partition("=")
    if not sign:
        name, sign, level = term.rstrip("]").partition("[")
    return name, level
