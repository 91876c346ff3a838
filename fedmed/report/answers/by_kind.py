"""Which reader turns which kind of result into an answer. A new kind adds one line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from fedmed.errors import ConfigError
from fedmed.report.answers.answer import Answer, Document
from fedmed.report.answers.regression import regression_answer
from fedmed.report.answers.statistics import statistics_answer
from fedmed.report.answers.survival import survival_answer

READERS: Mapping[str, Callable[[Document], Answer]] = MappingProxyType(
    {
        "statistics": statistics_answer,
        "regression": regression_answer,
        "survival": survival_answer,
    }
)


def answer_of(document: Document) -> Answer:
    """Read a result document.

    Raises:
        ConfigError: nobody knows how to show this kind, or the document lacks what its kind has.
    """
    kind = str(document["study"]["kind"])
    if kind not in READERS:
        raise ConfigError(f"no reader shows a {kind} result; update FedMed, or read result.json")
    try:
        return READERS[kind](document)
    except (KeyError, TypeError) as fault:
        raise ConfigError(
            f"the {kind} result lacks what this FedMed shows ({type(fault).__name__}); it was written by "
            "another version: run the study again, or read result.json"
        ) from fault
