from __future__ import annotations

import json
import os
import subprocess
import sys

import click
import pytest
import typer
import typer.main

from fedmed.cli import edge
from fedmed.errors import FedMedError, all_errors

RAISED: list[BaseException] = []


def raise_for_test(json: bool = False) -> None:
    raise RAISED.pop()


def run_raising(fault: BaseException, *options: str) -> int:
    """Run a command that raises ``fault``, beside the real ones."""
    group = edge.load_command()
    assert isinstance(group, click.Group)
    if "raise-for-test" not in group.commands:
        alone = typer.Typer(add_completion=False)
        alone.command("raise-for-test", hidden=True)(raise_for_test)
        group.add_command(typer.main.get_command(alone), "raise-for-test")
    RAISED.append(fault)
    return edge.run(["raise-for-test", *options])


def first_of_each_exit_code() -> list[object]:
    """Every error, all but the first of an exit code marked slow: the others differ in their words."""
    seen: set[int] = set()
    marked = []
    for code, kind in all_errors().items():
        marks = [pytest.mark.slow] if kind.exit_code in seen else []
        marked.append(pytest.param(kind, id=code, marks=marks))
        seen.add(kind.exit_code)
    return marked


def test_every_error_has_a_remedy_of_its_branch() -> None:
    silent = [code for code, kind in all_errors().items() if edge.remedy_for(kind("x")) == "report it"]
    assert silent == [FedMedError.code]


@pytest.mark.parametrize("kind", first_of_each_exit_code())
def test_every_error_ends_with_its_exit_code_cause_and_remedy(
    kind: type[FedMedError], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_raising(kind("cause in words")) == kind.exit_code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert f"{kind.code}: cause in words" in shown.err
    assert "what to do: " in shown.err
    assert "Traceback" not in shown.err


def test_with_json_a_refusal_is_a_document_too(capsys: pytest.CaptureFixture[str]) -> None:
    kind = all_errors()["cohort_too_small"]
    assert run_raising(kind("83 persons"), "--json") == 3
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "cohort_too_small"
    assert error["cause"] == "83 persons"
    assert error["remedy"]


def test_an_unexpected_fault_shows_neither_text_nor_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_raising(ValueError("patient 4711")) == 1
    shown = capsys.readouterr()
    assert "ValueError" in shown.err
    assert "4711" not in shown.err + shown.out
    assert "Traceback" not in shown.err


def test_the_debug_switch_shows_the_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEDMED_DEBUG", "1")
    assert run_raising(ValueError("patient 4711")) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("fault", [KeyboardInterrupt(), click.Abort()])
def test_an_interrupt_ends_with_130(fault: BaseException, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_raising(fault) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [["nonsense"], ["demo", "--nonsense"], ["demo", "--people", "many"], ["demo", "--scheme", "paillier"]],
)
def test_wrong_words_end_with_2(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert edge.run(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "Error" in shown.err


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["study"],
        ["demo"],
        ["doctor"],
        ["study", "new"],
        ["study", "check"],
        ["study", "run"],
        ["study", "report"],
    ],
)
def test_every_command_has_help_with_an_example(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert edge.run([*words, "--help"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "Usage: fedmed" in shown
    if words and words != ["study"]:
        assert f"Example: fedmed {' '.join(words)}" in shown


@pytest.mark.slow
def test_the_installed_command_leaves_with_the_code() -> None:
    # FEDMED_DEBUG would add a traceback; the environment of the tests must not decide.
    environment = {key: value for key, value in os.environ.items() if key != "FEDMED_DEBUG"}
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from fedmed.cli import main; main()",
            "study",
            "check",
            "absent.toml",
            "--json",
        ],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 2
    assert json.loads(done.stdout)["error"]["code"] == "config_error"
    assert "absent.toml" in done.stderr
    assert "Traceback" not in done.stderr


def test_flower_is_told_not_to_phone_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FLWR_TELEMETRY_ENABLED", raising=False)
    monkeypatch.delenv("FLWR_DISABLE_UPDATE_CHECK", raising=False)
    assert edge.run(["--help"]) == 0
    assert os.environ["FLWR_TELEMETRY_ENABLED"] == "0"
    assert os.environ["FLWR_DISABLE_UPDATE_CHECK"] == "1"
