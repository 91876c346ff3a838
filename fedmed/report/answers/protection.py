"""Who can open what a province sent, in words: page and terminal must not say more than the scheme keeps."""

from __future__ import annotations

from typing import assert_never

from fedmed.report.answers.answer import Document
from fedmed.types import Scheme


def scheme_of(document: Document) -> Scheme:
    """The scheme that carried the sums."""
    return Scheme(document["aggregation"]["scheme"])


def who_opens(document: Document) -> tuple[str, ...]:
    """Sentences on what left a province and who can open it (SECURITY.md)."""
    opened = (
        "No row left a province. Each sent one encrypted vector of sums a round; only the sum over all "
        "contributors could be opened."
    )
    match scheme := scheme_of(document):
        case Scheme.THRESHOLD:
            return (opened,)
        case Scheme.CKKS:
            return (
                "No row left a province. Each sent one encrypted vector of sums a round; custodians opened "
                "the sum over all contributors and nothing else.",
                "Scheme ckks: every province holds the one key. One that gets hold of another's vector, or "
                "the coordinator with any one province, can open it.",
            )
        case Scheme.PLAIN:
            return (
                "No row left a province. Scheme plain: each sent its vector of sums unencrypted, and the "
                "coordinator could read each one.",
            )
        case _:  # a new scheme has no sentence until somebody has thought about it
            assert_never(scheme)


def when_alone(document: Document) -> str:
    """When only the noise of a person's own node is left, so that the fallback epsilon holds."""
    match scheme := scheme_of(document):
        case Scheme.THRESHOLD:
            return "if all others collude"
        case Scheme.CKKS:
            return "if all others collude, or one uses the key that all hold"
        case Scheme.PLAIN:
            return "against the coordinator, and if all others collude"
        case _:
            assert_never(scheme)
