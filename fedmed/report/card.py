"""The model card that lies beside the model, in Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from fedmed.report.evaluation import evaluation_rows, evaluation_words
from fedmed.report.findings import NOT_SCORED, findings, went_wrong
from fedmed.report.guarantee import limits, privacy_facts, privacy_statement
from fedmed.report.looks import known_arms
from fedmed.report.result import Result
from fedmed.report.units import metric, ratio

_MARKUP = re.compile(r"([\\`*_{}\[\]#|~!])")


def model_card(result: Result, layout_text: str) -> str:
    """Write the model card.

    Args:
        result: The study's result.
        layout_text: The model's layout in words, for instance names and shapes of its arrays; printed as
            preformatted text.

    Returns:
        Markdown, UTF-8 text with a newline at its end.

    Guarantees:
        Texts from the study and the layout cannot add markup; the same input gives the same card.
    """
    study, found = result.study, findings(result)
    parts = [
        f"# {_plain(study.title)}",
        found.headline,
        _table(
            ("", ""),
            [
                ("Study", study.id),
                ("Digest", study.digest),
                ("Purpose", study.purpose),
                ("Owner", study.owner),
                ("Created", result.created),
                ("Trained in", "a simulation on one machine" if result.simulation else "a deployment"),
            ],
        ),
        "## Use",
        _list((*found.conclusions, found.anchor)),
        *(["**Before you use it**", _list(found.warnings)] if found.warnings else []),
        "## Model",
        _preformatted(layout_text),
        "## Scores",
        _scores(result),
        *_evaluation(result),
        "## Privacy",
        _list(privacy_statement(result)),
        _table(("Figure", "Value", "Meaning"), [(f.name, f.value, f.meaning) for f in privacy_facts(result)]),
        *(["## What went wrong", _list(went_wrong(result))] if went_wrong(result) else []),
        "## Limits",
        _list(limits(result)),
        "## Versions",
        _list(tuple(f"{name} {version}" for name, version in sorted(result.versions.items()))),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _evaluation(result: Result) -> tuple[str, ...]:
    """The released evaluation, if there is one."""
    part = result.evaluation
    if part is None:
        return ()
    rows = [(row.name, row.value, row.interval) for row in evaluation_rows(part)]
    return (
        "## Evaluation",
        _plain(evaluation_words(part)),
        _table(("Metric", "Estimate", "95 % interval"), rows),
    )


def _plain(text: str) -> str:
    """Make a text harmless in Markdown: one line, no markup, no HTML."""
    return _MARKUP.sub(r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _list(sentences: tuple[str, ...]) -> str:
    """A bullet list."""
    return "\n".join(f"- {_plain(sentence)}" for sentence in sentences)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """A pipe table."""
    lines = [head, tuple("---" for _ in head)]
    written = [f"| {' | '.join(line)} |" for line in lines]
    written += [f"| {' | '.join(_plain(cell) for cell in row)} |" for row in rows]
    return "\n".join(written)


def _preformatted(text: str) -> str:
    """A fenced block whose fence is longer than any run of backticks inside."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{text.rstrip()}\n{fence}"


def _scores(result: Result) -> str:
    """The federated model's scores by node, then the means of all arms."""
    score_rows, federated = [], result.arms.federated
    if not known_arms(result):
        return NOT_SCORED if result.evaluation is None else "Exact scores are known in a simulation only."
    for node in result.nodes:
        score = None if federated is None else federated.per_node.get(node.key)
        if score is not None:
            figures = (
                metric(score.auc),
                metric(score.average_precision),
                ratio(score.expected_over_observed),
            )
            score_rows.append((node.label, *figures))
    arm_rows = [
        (
            f"{look.name}, {'private' if look.private else 'no privacy'}",
            metric(arm.auc),
            metric(arm.average_precision),
            ratio(arm.expected_over_observed),
        )
        for look, arm in known_arms(result)
    ]
    figures_head = ("AUC", "Average precision", "Expected / observed")
    by_node = _table(("Federated model at", *figures_head), score_rows) if score_rows else ""
    return "\n\n".join(part for part in (by_node, _table(("Mean of arm", *figures_head), arm_rows)) if part)
