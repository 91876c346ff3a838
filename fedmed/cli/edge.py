"""Turns whatever a command raises into an exit code and three lines: code, cause, remedy."""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections.abc import Sequence

import click

from fedmed.cli.endings import stopped_in_order
from fedmed.errors import (
    ApprovalPending,
    BudgetExceeded,
    CohortTooSmall,
    ConfigError,
    CustodianUnreachable,
    DataContractError,
    FedMedError,
    IntegrityError,
    KeyNotUsable,
    PlatformUnsupported,
    ProcessFailed,
    ProtocolError,
    RowsNotIndependent,
    StoreFailed,
    StoreSetBack,
    StudyExpired,
    StudyRefused,
    StudyStopped,
    StudyUnknown,
    TooFewNodes,
    UnknownVersion,
)

DONE, UNEXPECTED, USAGE, INTERRUPTED = 0, 1, 2, 130

# Who must act, by branch of the error tree; the most special class that fits gives the words.
REMEDIES: tuple[tuple[type[FedMedError], str], ...] = (
    (PlatformUnsupported, "run FedMed on Linux, x86-64"),
    (KeyNotUsable, "do what the message says; to others a key changes only with a new roster"),
    (ConfigError, "correct the setting or the study file and start again"),
    (DataContractError, "correct what the message names; what a study had already opened stays spent"),
    (BudgetExceeded, "lower epsilon or the aggregations, or ask the data holders for budget"),
    (CohortTooSmall, "leave that node out, or widen the cohort"),
    (TooFewNodes, 'wait for the lost nodes and start again, or plan for losses: on_dropout = "continue"'),
    (StudyRefused, "change the study to what the provinces' policies allow"),
    (ApprovalPending, "ask the province's operator to approve the study"),
    (StudyExpired, "propose the study again with a later last day"),
    (StoreFailed, "look at disk space, permissions and whether a second process uses the store"),
    (CustodianUnreachable, "start the custodian: fedmed node serve; or ask its operator for access"),
    (ProcessFailed, "read the log that the message names; when the cause is mended, start again"),
    (StudyStopped, "go on with it: fedmed server launch ... --resume; or leave it"),
    (RowsNotIndependent, "install the versions that constraints.txt names; fedmed doctor shows what differs"),
    (StudyUnknown, "compare the digest with fedmed node status; the coordinator proposes a study by launch"),
    (ProtocolError, "compare versions and settings of the two sides; if they agree, report it"),
    (
        UnknownVersion,
        "use the FedMed that wrote it, or one that reads both; nothing says that it was altered",
    ),
    (StoreSetBack, "find out who put an old copy back, then do what the message says"),
    (IntegrityError, "do not trust this run: find out who altered the bytes before starting again"),
)


def run(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: The words after ``fedmed``.

    Returns:
        The exit code: 0 done, 1 unexpected, 2 usage, 3 refused, 4 over budget, 5 too few nodes,
        6 integrity failure, 7 data unfit, 8 waiting for approval, 9 answered no, 130 interrupted or stopped.

    Guarantees:
        Nothing is raised and no traceback is shown, unless the variable FEDMED_DEBUG is set. SIGTERM and
        SIGHUP end a command as Control-C does.
    """
    # Flower would otherwise report usage and look for updates, from every process.
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    try:
        with stopped_in_order():
            answer = load_command()(args=list(arguments), prog_name="fedmed", standalone_mode=False)
    except click.exceptions.Exit as end:
        answer = end.exit_code
    except click.ClickException as fault:
        fault.show()
        return USAGE
    except (KeyboardInterrupt, click.Abort):
        answer = INTERRUPTED
    except FedMedError as fault:
        return _refusal(fault, as_json="--json" in arguments)
    except BrokenPipeError:
        # The reader went away, as in `fedmed ... | head`; a second failure at exit would show.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except Exception as fault:
        return _unexpected(fault)
    if answer == INTERRUPTED:
        _say("interrupted; what was not finished is not in the results")
    return answer if isinstance(answer, int) else DONE


@functools.cache
def load_command() -> click.Command:
    """Build all commands, once a process; apart from `run`, so that importing this module stays cheap."""
    from typer.main import get_command

    from fedmed.cli.app import app

    return get_command(app)


def remedy_for(fault: FedMedError) -> str:
    """What the person at the machine can do about an error."""
    return next((words for kind, words in REMEDIES if isinstance(fault, kind)), "report it")


def _refusal(fault: FedMedError, *, as_json: bool) -> int:
    """Say code, cause and remedy; with ``--json`` the document on stdout says so too."""
    _debug()
    _say(f"{fault.code}: {fault}\n  what to do: {remedy_for(fault)}")
    if as_json:
        error = {"code": fault.code, "cause": str(fault), "remedy": remedy_for(fault)}
        click.echo(json.dumps({"error": error}, ensure_ascii=False))
    return fault.exit_code


def _unexpected(fault: Exception) -> int:
    """One line for a fault of ours; its text may hold anything, so only its kind is shown."""
    _debug()
    _say(
        f"unexpected {type(fault).__name__}; this is a fault of FedMed\n"
        "  what to do: run again with FEDMED_DEBUG=1 and report what it shows, less any private value"
    )
    return UNEXPECTED


def _debug() -> None:
    """Show the traceback where the person asked for it."""
    if os.environ.get("FEDMED_DEBUG"):
        _say(traceback.format_exc())


def _say(text: str) -> None:
    """Write for people, on stderr."""
    click.echo(text, err=True)
