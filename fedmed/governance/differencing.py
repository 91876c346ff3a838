"""The differencing guard: two answers to one question must not differ by a few nodes or a few persons.

Threat model. Exact or noisy, the sum over four provinces minus the sum over three of them is the fourth
province's. Nobody can take an answer back, so a custodian remembers what it was asked and refuses a question
that is too near to one answered before (PROTOCOL.md section 6). It decides on declared facts, never on rows.
Questions are alike when they read the same columns of the same dataset version: levels, bounds and names are
easily changed a little. Two versions of one dataset may differ by one person: exact answers over both are
refused unless the province declares at least ``min_cohort`` more or fewer persons in the later one. Not
covered: a dataset that is registered under another name with a few rows changed, nodes that ask about each
other outside this federation, and filters, whose differences the coordinator's disclosure control sees
(`fedmed.analytics.disclosure`).
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from fedmed.errors import DifferencingRefused
from fedmed.study import StatisticsStudy, StudySpec
from fedmed.types import Mode, digest, require


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedQuestion:
    """What is kept of a study, to compare others with.

    Attributes:
        study: Its digest in hexadecimal.
        statistics: Digest of each statistic's columns, in hexadecimal.
        dataset: The dataset's name at this node; empty for a question kept before names were.
        dataset_fingerprint: The dataset version at this node, in hexadecimal.
        persons_here: Declared persons of that version (>= 0).
        is_exact: Whether the answer is without noise.
        declared_persons: Declared persons of the nodes in the sum, by node; before one was opened, of all
            nodes of the study, in the order of the roster.
        colluders: Colluding provinces that the study allows for (>= 0).
        min_cohort: Least number of persons by which it may differ from another (>= 1).
        day: When it was answered or proposed here last, whichever is later.
    """

    study: str
    statistics: frozenset[str]
    dataset: str
    dataset_fingerprint: str
    persons_here: int
    is_exact: bool
    declared_persons: Mapping[str, int]
    colluders: int
    min_cohort: int
    day: datetime.date

    def __post_init__(self) -> None:
        object.__setattr__(self, "declared_persons", MappingProxyType(dict(self.declared_persons)))
        require(self.colluders >= 0, f"colluders must be >= 0, got {self.colluders}")
        require(self.min_cohort >= 1, f"min_cohort must be >= 1, got {self.min_cohort}")

    def over(self, points: Iterable[int]) -> AskedQuestion:
        """The same question once the nodes in its sum are known, as points of the roster (from 1)."""
        named = tuple(self.declared_persons.items())
        return replace(self, declared_persons=dict(named[point - 1] for point in points))


def guarded_statistics(spec: StudySpec) -> frozenset[str]:
    """Digests of what a study asks, by the columns that each statistic reads; none for other modes.

    Training studies are held by their frozen set of nodes and by the ledger.
    """
    if spec.privacy.mode is not Mode.STATISTICS:
        return frozenset()
    return frozenset(
        digest("fedmed/statistic", *(column.encode() for column in sorted(set(columns)))).hex()
        for columns in _columns_of_statistics(spec)
    )


def _columns_of_statistics(spec: StudySpec) -> Iterator[tuple[str, ...]]:
    """Columns of each statistic."""
    if isinstance(spec, StatisticsStudy):
        yield from (entry.columns for entry in spec.statistics)
    else:
        yield spec.columns


def check_difference(question: AskedQuestion, answered: Iterable[AskedQuestion], *, window_days: int) -> None:
    """Refuse a question that is too near to one that was answered.

    Args:
        question: The new one; its day is today.
        answered: All that were answered here, over the nodes of their sums; the same study among them is
            passed over.
        window_days: For how many days from its own an answer counts.

    Raises:
        DifferencingRefused: another question reads the same columns of the same dataset version, and the two
            differ by 1 to c + 1 nodes, or by 1 to min_cohort - 1 declared persons; or both are exact and read
            two versions of one dataset that differ here by fewer than min_cohort declared persons. The larger
            c and min_cohort of the two count.
    """
    for other in answered:
        is_comparable = (
            other.study != question.study
            and bool(other.statistics & question.statistics)
            and (question.day - other.day).days <= window_days
        )
        if not is_comparable:
            continue
        if other.dataset_fingerprint == question.dataset_fingerprint:
            _check_cohorts(question, other)
        elif other.dataset == question.dataset and other.is_exact and question.is_exact:
            _check_versions(question, other)


def _check_cohorts(question: AskedQuestion, other: AskedQuestion) -> None:
    """Refuse two questions over nearly the same nodes or persons."""
    nodes = len(other.declared_persons.keys() ^ question.declared_persons.keys())
    persons = _persons_between(other.declared_persons, question.declared_persons)
    least_nodes = max(other.colluders, question.colluders) + 2
    least_persons = max(other.min_cohort, question.min_cohort)
    if 0 < nodes < least_nodes or 0 < persons < least_persons:
        raise DifferencingRefused(
            f"the study asks what study {other.study[:16]} asks, over {nodes} other nodes and {persons} "
            f"other declared persons; ask over the same ones, or differ by {least_nodes} nodes and "
            f"{least_persons} persons, unless this province's operators sign an exception"
        )


def _check_versions(question: AskedQuestion, other: AskedQuestion) -> None:
    """Refuse exact answers over two versions of a dataset that may differ by a few persons."""
    between = abs(other.persons_here - question.persons_here)
    least = max(other.min_cohort, question.min_cohort)
    if between < least:
        raise DifferencingRefused(
            f"the study asks exactly what study {other.study[:16]} asked of an earlier version of dataset "
            f"{question.dataset}, whose declared persons differ by {between}: ask with noise, or of a "
            f"version that differs by {least} persons, unless this province's operators sign an exception"
        )


def _persons_between(first: Mapping[str, int], second: Mapping[str, int]) -> int:
    """Declared persons by which two cohorts differ."""
    return sum(abs(first.get(node, 0) - second.get(node, 0)) for node in first.keys() | second.keys())
