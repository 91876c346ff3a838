"""What a finished deployed study leaves for people: result document, model card and report page.

They are made from what the ServerApp left (`fedmed_server.deployed_study`), by whoever asks first, so that a
study whose window was closed ends with the same files. Arms that need the provinces' rows in one place are
absent; scores on held-out persons are a release of their own.
"""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Final

from fedmed.errors import ConfigError
from fedmed.outcome import deployed_result, model_words
from fedmed.plans.training import model_of
from fedmed.protocol.schedule import schedule_for
from fedmed.question import question_document
from fedmed.report import model_card
from fedmed.report.answers.files import answer_files
from fedmed.report.audit_page import AUDIT_DOCUMENT, AUDIT_PAGE, render_audit
from fedmed.report.audit_result import AuditResult
from fedmed.report.page import render_html
from fedmed.report.result import Result
from fedmed.report.write import PAGE_NAME
from fedmed.study import StudySpec, as_training
from fedmed_server.deployed_study import OUTCOME_FILE, read_outcome
from fedmed_server.files import read_private, replace_private

RESULT_FILE: Final = "result.json"
CARD_FILE: Final = "model_card.md"


def deliver(folder: Path, spec: StudySpec) -> Result:
    """The result of a finished training study; its documents are written if they are not there yet.

    Args:
        folder: The run's folder.
        spec: Its study.

    Returns:
        The result document; the same whenever it is made.

    Raises:
        ConfigError: the study is not finished, or of a kind that has no model.

    Guarantees:
        ``result.json`` is written last: where it is, card and pages are, an audit's among them.
    """
    if (folder / RESULT_FILE).exists():
        return Result.from_json(read_private(folder / RESULT_FILE))
    training = as_training(spec)
    run = read_outcome(folder, training)
    if run is None:
        raise ConfigError(f"study {spec.id} is not finished: wait for it, or launch it again with --resume")
    result = deployed_result(training, schedule_for(training), run, ended=_ended(folder))
    card = model_card(result, model_words(model_of(training)))
    replace_private(folder / CARD_FILE, card.encode())
    replace_private(folder / PAGE_NAME, render_html(result).encode())
    if (folder / AUDIT_DOCUMENT).exists():
        audit = AuditResult.from_json(read_private(folder / AUDIT_DOCUMENT))
        replace_private(folder / AUDIT_PAGE, render_audit(audit).encode())
    replace_private(folder / RESULT_FILE, result.to_json().encode())
    return result


def deliver_question(folder: Path, spec: StudySpec) -> str:
    """The result of a finished study of another kind than training, with its page, tables and figures.

    They are written if they are not there yet, the same as a simulation's (`fedmed.report.answers.files`).

    Args:
        folder: The run's folder.
        spec: Its study.

    Returns:
        The document of `fedmed.question.question_document` as JSON; the same whenever it is made.

    Raises:
        ConfigError: the study is not finished.

    Guarantees:
        ``result.json`` is written last: where it is, page, Parquet, CSV and SVG are. Only the owner can read
        them.
    """
    if (folder / RESULT_FILE).exists():
        return read_private(folder / RESULT_FILE).decode()
    run = read_outcome(folder, spec)
    if run is None:
        raise ConfigError(f"study {spec.id} is not finished: wait for it, or launch it again with --resume")
    document = {
        **question_document(spec, schedule_for(spec), run, ended=_ended(folder), simulation=False),
        # What may be shown was decided once, together with all that was published before.
        "result": json.loads(read_private(folder / OUTCOME_FILE))["result"],
    }
    for name, content in answer_files(document).items():
        replace_private(folder / name, content)
    text = json.dumps(document, ensure_ascii=False, indent=2, allow_nan=False)
    replace_private(folder / RESULT_FILE, text.encode())
    return text


def _ended(folder: Path) -> datetime.datetime:
    """When the ServerApp finished the study."""
    told = json.loads(read_private(folder / OUTCOME_FILE))
    return datetime.datetime.fromisoformat(told["ended"])
