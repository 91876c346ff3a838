"""What a custodian remembers of the questions that it was asked, in its store, for the differencing guard.

The rule is `fedmed.governance.differencing`. One entry a study is kept, also after the study is over: digests
of what it asks, its nodes, the dataset's fingerprint and the day; nothing of a row. Which nodes were in its
sum stands in the study's own state, which is kept as well.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

from fedmed.errors import ConfigError, DifferencingRefused, IntegrityError
from fedmed.governance.differencing import AskedQuestion, check_difference, guarded_statistics
from fedmed.protocol.node_round import StudyState
from fedmed.study import StudySpec
from fedmed_nodes.logbook import Logbook
from fedmed_nodes.sources import RowSource
from fedmed_nodes.study_keys import study_key

QUESTIONS: Final = "questions"
"""Store key of all questions."""

_VERSION: Final = 2
_UNNAMED: Final = {"dataset": "", "persons_here": 0, "is_exact": False}
"""What a question of version 1 lacks: no dataset has an empty name, so none is compared by it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuestionBook:
    """All questions that were asked here; pure.

    Attributes:
        questions: By study, its digest in hexadecimal.
    """

    questions: Mapping[str, AskedQuestion]

    def __post_init__(self) -> None:
        object.__setattr__(self, "questions", MappingProxyType(dict(self.questions)))

    def with_question(self, question: AskedQuestion) -> QuestionBook:
        """The book with one question put in or replaced."""
        return QuestionBook(questions={**self.questions, question.study: question})

    def to_bytes(self) -> bytes:
        """Write the book in its one form."""
        entries = [_document(q) for _, q in sorted(self.questions.items())]
        return json.dumps({"version": _VERSION, "questions": entries}, sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, data: bytes | None) -> QuestionBook:
        """Read what `to_bytes` wrote; an empty book where nothing is stored.

        Raises:
            IntegrityError: the bytes are not a book of this version.
        """
        if data is None:
            return cls(questions={})
        try:
            stored = json.loads(data)
            if stored["version"] not in (1, _VERSION):
                raise IntegrityError(f"the book of questions has version {stored['version']}: update FedMed")
            missing = _UNNAMED if stored["version"] == 1 else {}
            return cls(questions={e["study"]: _question({**missing, **e}) for e in stored["questions"]})
        except (ValueError, KeyError, TypeError, AttributeError, ConfigError):
            raise IntegrityError("the book of questions cannot be read: its bytes were altered") from None


def question_of(
    study: bytes,
    spec: StudySpec,
    *,
    source: RowSource,
    least_cohort: int,
    colluders: int,
    day: datetime.date,
) -> AskedQuestion | None:
    """What is kept of a study; None where the guard does not concern its mode.

    Args:
        study: Its digest.
        spec: The study.
        source: This node's dataset version.
        least_cohort: The policy's ``min_cohort``.
        colluders: Of the study's worked-out allowance.
        day: Today.
    """
    statistics = guarded_statistics(spec)
    if not statistics:
        return None
    return AskedQuestion(
        study=study.hex(),
        statistics=statistics,
        dataset=spec.data.dataset,
        dataset_fingerprint=source.fingerprint.hex(),
        persons_here=source.declared_persons,
        is_exact=spec.privacy.is_exact,
        declared_persons=spec.data.declared_persons,
        colluders=colluders,
        min_cohort=max(least_cohort, spec.data.min_cohort),
        day=day,
    )


def _document(question: AskedQuestion) -> dict[str, Any]:
    """A question as JSON values; the order of its nodes is that of the roster."""
    return {
        "study": question.study,
        "statistics": sorted(question.statistics),
        "dataset": question.dataset,
        "dataset_fingerprint": question.dataset_fingerprint,
        "persons_here": question.persons_here,
        "is_exact": question.is_exact,
        "declared_persons": list(question.declared_persons.items()),
        "colluders": question.colluders,
        "min_cohort": question.min_cohort,
        "day": question.day.isoformat(),
    }


def _question(entry: dict[str, Any]) -> AskedQuestion:
    """The question that `_document` wrote."""
    return AskedQuestion(
        **{
            **entry,
            "day": datetime.date.fromisoformat(entry["day"]),
            "statistics": frozenset(entry["statistics"]),
            "declared_persons": dict(entry["declared_persons"]),
        }
    )


class DifferencingDesk:
    """Keeps the questions of one custodian and compares new ones with them."""

    def __init__(self, logbook: Logbook, *, window_days: int, is_allowed: Callable[[bytes], bool]) -> None:
        """Compare with the answers of ``window_days``; ``is_allowed`` knows the operators' exceptions."""
        self._logbook = logbook
        self._window_days = window_days
        self._is_allowed = is_allowed

    def objection(self, question: AskedQuestion | None) -> DifferencingRefused | None:
        """Why a study must not be answered; None where nothing speaks against it, or operators allowed it.

        Args:
            question: What it asks; its day is today.
        """
        if question is None or self._is_allowed(bytes.fromhex(question.study)):
            return None
        try:
            check_difference(question, self._answered(), window_days=self._window_days)
        except DifferencingRefused as refusal:
            return refusal
        return None

    def puts(self, question: AskedQuestion | None) -> dict[str, bytes]:
        """What to store when a study is approved."""
        if question is None:
            return {}
        book = QuestionBook.from_bytes(self._logbook.get(QUESTIONS))
        return {QUESTIONS: book.with_question(question).to_bytes()}

    def check_set(self, study: bytes, contributors: Iterable[int], *, today: datetime.date) -> None:
        """Compare a study again once the nodes in its sum are known, before it is opened.

        Args:
            study: Digest of a study that was approved here; another one asks nothing.
            contributors: Roster points.
            today: The day at this province.

        Raises:
            DifferencingRefused: see `fedmed.governance.differencing.check_difference`.
        """
        question = QuestionBook.from_bytes(self._logbook.get(QUESTIONS)).questions.get(study.hex())
        if question is None:
            return
        refusal = self.objection(replace(question, day=today).over(contributors))
        if refusal is not None:
            raise refusal

    def puts_of_answer(self, study: bytes, *, today: datetime.date) -> dict[str, bytes]:
        """What to store when a sum is opened: the window runs from the answer, not from the proposal."""
        book = QuestionBook.from_bytes(self._logbook.get(QUESTIONS))
        question = book.questions.get(study.hex())
        if question is None:
            return {}
        return {QUESTIONS: book.with_question(replace(question, day=today)).to_bytes()}

    def _answered(self) -> Iterator[AskedQuestion]:
        """All questions for which this custodian helped to open a sum, over the nodes in it."""
        for study, question in QuestionBook.from_bytes(self._logbook.get(QUESTIONS)).questions.items():
            state = self._logbook.get(study_key(bytes.fromhex(study), "state"))
            opened = StudyState.from_bytes(state).first_set if state is not None else ()
            if opened:
                yield question.over(opened)
