"""Runs a study in one process and shows what came out."""

from __future__ import annotations

import contextlib
import fcntl
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from fedmed.cli.drill import Drill, parse_loss
from fedmed.errors import ConfigError
from fedmed.report.live import shown_progress
from fedmed.study import StudySpec, TrainingStudy
from fedmed.types import StudyKind

if TYPE_CHECKING:
    import pyarrow as pa

    from fedmed.report import Result

RESULT_NAME = "result.json"
LOCK_NAME = ".running"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run.

    Attributes:
        out: Folder of all runs; this one gets ``out/<study id>``.
        seed: Of everything in a simulation that may have one; noise never has.
        lose: Nodes to lose on purpose, as `fedmed.cli.drill.parse_loss` reads them.
        as_json: Print the result document, and nothing else, on stdout.
    """

    out: Path
    seed: int
    lose: tuple[str, ...]
    as_json: bool


def run_and_show(spec: StudySpec, tables: Mapping[str, pa.Table], *, options: RunOptions) -> None:
    """Run a study, write its folder and show the result.

    Args:
        spec: The study.
        tables: Rows by node key.
        options: How to run.

    Raises:
        FedMedError: whatever stops the study.
    """
    if not isinstance(spec, TrainingStudy):
        _ask_and_show(spec, tables, options=options)
        return
    drill = Drill([parse_loss(text, spec.nodes) for text in options.lose], spec.nodes)
    folder = options.out / spec.id
    with quiet_stdout(options.as_json):
        from fedmed.report import write_report
        from fedmed.simulation import Faults, run_study

        console = Console(stderr=options.as_json)
        with owned_folder(folder), shown_progress(console, title=spec.title) as on_progress:
            result = run_study(
                spec,
                dict(tables),
                folder=folder,
                seed=options.seed,
                on_progress=on_progress,
                faults=Faults(loses=drill.loses),
            )
            page = write_report(folder, result)
    show_result(result, page=page, as_json=options.as_json)


def _ask_and_show(spec: StudySpec, tables: Mapping[str, pa.Table], *, options: RunOptions) -> None:
    """Run a study of another kind than training; see `run_and_show`."""
    drill = Drill([parse_loss(text, spec.nodes) for text in options.lose], spec.nodes)
    folder = options.out / spec.id
    with quiet_stdout(options.as_json):
        from fedmed.report.answers.files import write_answer
        from fedmed.simulation import Faults, run_question

        console = Console(stderr=options.as_json)
        with owned_folder(folder), shown_progress(console, title=spec.title) as on_progress:
            document = run_question(
                spec, dict(tables), folder=folder, on_progress=on_progress, faults=Faults(loses=drill.loses)
            )
            page = write_answer(folder, document)
    _show_answer(document, page=page, as_json=options.as_json)


def report_and_show(folder: Path, *, as_json: bool) -> None:
    """Render the page of a finished run again, and the tables beside it, from its ``result.json``.

    Raises:
        ConfigError: there is none, it cannot be read, or the folder cannot be written.
    """
    with quiet_stdout(as_json):
        from fedmed.report import write_report
        from fedmed.report.answers.files import write_answer

        question = _question_in(folder)
        if question is None:
            result = read_result(folder)
            page = write_report(folder, result)
        else:
            page = write_answer(folder, question)
    if question is None:
        show_result(result, page=page, as_json=as_json)
    else:
        _show_answer(question, page=page, as_json=as_json)


def _question_in(folder: Path) -> Mapping[str, Any] | None:
    """The result document of a study that is no training; None for any other file."""
    try:
        document = json.loads((folder / RESULT_NAME).read_bytes())
    except (OSError, ValueError):
        return None  # `read_result` says what is wrong
    study = document.get("study") if isinstance(document, dict) else None
    kind = study.get("kind") if isinstance(study, dict) else None
    return document if kind not in (None, StudyKind.TRAINING.value) else None


def _show_answer(document: Mapping[str, Any], *, page: Path, as_json: bool) -> None:
    """Print the document, or its tables with the place of the page."""
    if as_json:
        click.echo(json.dumps(document, ensure_ascii=False))
        return
    from fedmed.report.answers.terminal import show_answer

    show_answer(document, page=page)


@contextlib.contextmanager
def owned_folder(folder: Path) -> Iterator[None]:
    """Make a run's folder and keep other runs out of it; said before anything is computed.

    Folders that the run made and leaves empty are removed again. The run's own is made with mode 0700.

    Raises:
        ConfigError: the folder cannot be written, or another run is writing to it.
    """
    from fedmed.outcome import FOLDER_MODE

    lock = folder / LOCK_NAME
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        handle = lock.open("w")
    except OSError as fault:
        raise ConfigError(
            f"cannot write to {folder}: {fault.strerror}; choose another folder with --out"
        ) from None
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"another run is writing to {folder}; wait for it or choose another folder with --out"
            ) from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not empty: the run has left its results
                for place in made:
                    place.rmdir()


def show_result(result: Result, *, page: Path, as_json: bool) -> None:
    """Print the document, or the table with the place of the report."""
    if as_json:
        click.echo(result.to_json(), nl=False)
        return
    from fedmed.report.terminal import show_summary

    show_summary(result, page=page)


def read_result(folder: Path) -> Result:
    """Read a run's result document.

    Raises:
        ConfigError: there is none, or it is not one that this FedMed can read.
    """
    from fedmed.report import Result

    path = folder / RESULT_NAME
    try:
        text = path.read_bytes()
    except OSError as fault:
        raise ConfigError(
            f"cannot read {path}: {fault.strerror}; give the folder of a finished run, as runs/demo"
        ) from None
    return Result.from_json(text)


@contextlib.contextmanager
def quiet_stdout(active: bool) -> Iterator[None]:
    """While active, whatever a library prints goes to stderr, so that stdout holds one document."""
    if not active:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield
