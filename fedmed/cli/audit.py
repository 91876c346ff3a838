"""What ``fedmed audit`` does: runs a study with canaries in one process, and shows what they say."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich import box
from rich.console import Console
from rich.table import Table

from fedmed.cli.runs import owned_folder, quiet_stdout
from fedmed.errors import AuditFailed, ConfigError
from fedmed.report.audit_page import CHECKS, audit_finding
from fedmed.report.audit_result import AuditResult
from fedmed.report.live import shown_progress
from fedmed.report.units import epsilon as epsilon_text
from fedmed.report.write import write_audit
from fedmed.study import TrainingStudy, study_from_document, to_toml

if TYPE_CHECKING:
    import pyarrow as pa

    from fedmed.progress import OnProgress
    from fedmed.training.membership import MembershipRisk
    from fedmed.types import FloatArray

MOST_RUNS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """What the command was asked for.

    Attributes:
        out: Folder of all runs; this one gets ``out/<study id>-audit``.
        canaries: In place of the study's own; None = the study's, or 1,000 where it has no audit block.
        runs: How often the study is run, with fresh keys, coins and noise.
        as_json: Whether stdout gets the document.
    """

    out: Path
    canaries: int | None
    runs: int
    as_json: bool


def audit_and_show(spec: TrainingStudy, tables: Mapping[str, pa.Table], *, options: AuditOptions) -> None:
    """Audit a study on local tables, write ``audit.json`` and ``audit.html``, and show both.

    Args:
        spec: The study.
        tables: Rows of each node, by node key.
        options: What was asked for.

    Raises:
        AuditFailed: a check does not hold, or the proven epsilon is above the claim; names which.
        FedMedError: whatever stops the study.
    """
    if not 1 <= options.runs <= MOST_RUNS:
        raise ConfigError(f"--runs must be in 1..{MOST_RUNS}, got {options.runs}")
    audited = with_canaries(spec, options.canaries)
    folder = options.out / f"{spec.id}-audit"
    with quiet_stdout(options.as_json):
        console = Console(stderr=options.as_json)
        with owned_folder(folder), shown_progress(console, title=f"Audit of {spec.title}") as on_progress:
            found = run_audit(audited, dict(tables), runs=options.runs, on_progress=on_progress)
            page = write_audit(folder, found)
    if options.as_json:
        click.echo(found.to_json(), nl=False)
    else:
        show_audit(found, page=page)
    if not found.passed:
        raise AuditFailed(audit_finding(found))


def with_canaries(spec: TrainingStudy, canaries: int | None) -> TrainingStudy:
    """The study with an audit block: its own, or one of that many canaries.

    Raises:
        ConfigError: a study cannot have that many.
    """
    if canaries is None and spec.audit is not None:
        return spec
    import tomllib

    document = tomllib.loads(to_toml(spec))
    changed = study_from_document({**document, "audit": {} if canaries is None else {"canaries": canaries}})
    if not isinstance(changed, TrainingStudy):
        raise ConfigError('only studies that train a model carry canaries: name one with kind = "training"')
    return changed


def run_audit(
    spec: TrainingStudy, tables: Mapping[str, pa.Table], *, runs: int, on_progress: OnProgress
) -> AuditResult:
    """Run an audited study in one process and look at its canaries and its model.

    Args:
        spec: A study with an audit block.
        tables: Rows of each node in roster order.
        runs: How often.
        on_progress: Called at each step.

    Raises:
        FedMedError: whatever stops the study, a failed audit among it.
    """
    from fedmed.audit_document import audit_result
    from fedmed.simulation import Faults, federate

    findings = []
    for _ in range(runs):
        run = federate(spec, tables, on_progress=on_progress, faults=Faults())
        if run.audit is None:
            raise ConfigError("the study has no audit block: give --canaries")
        findings.append(run.audit)
    return audit_result(
        spec,
        findings,
        ended=datetime.datetime.now(tz=datetime.UTC),
        simulation=True,
        membership=attack(spec, tables, run.parameters),
    )


def attack(
    spec: TrainingStudy, tables: Mapping[str, pa.Table], parameters: FloatArray
) -> MembershipRisk | None:
    """Guess who trained the model, from everybody's losses; None where nobody was held out."""
    import numpy as np

    from fedmed.data.features import Part, examples
    from fedmed.models.score import probabilities
    from fedmed.plans.training import model_of
    from fedmed.training.membership import membership_risk, person_losses

    if spec.data.held_out == 0:
        return None
    model = model_of(spec)

    def losses(part: Part) -> FloatArray:
        found = []
        for table in tables.values():
            rows = examples(table, spec.dataset_spec, part=part)
            labels = rows.labels.astype(np.float64)
            found.append(person_losses(probabilities(parameters, model, rows), labels, rows.person_starts))
        return np.concatenate(found)

    return membership_risk(losses("train"), losses("test"))


def show_audit(audit: AuditResult, *, page: Path) -> None:
    """Print an audit for people."""
    console = Console()
    console.print(audit_finding(audit), style="bold green" if audit.passed else "bold red")
    table = Table(box=box.SIMPLE, header_style="bold")
    for heading in ("epsilon", "", "what it is"):
        table.add_column(heading, justify="right" if not heading else "left")
    estimated = "no bound" if audit.estimated is None else epsilon_text(audit.estimated)
    table.add_row("claimed", epsilon_text(audit.claimed), "what the accounting promises")
    table.add_row("with all noise", epsilon_text(audit.expected), "how canaries look if no noise is missing")
    table.add_row("estimated", estimated, "how they look")
    table.add_row(
        "proven at least", epsilon_text(audit.proven), f"{audit.confidence:.0%} confidence; only refutes"
    )
    console.print(table)
    checks = Table(box=box.SIMPLE, header_style="bold")
    for heading in ("check", "found", "must be", ""):
        checks.add_column(heading, justify="right" if heading == "found" else "left")
    for check in audit.worst_checks:
        found = "none" if check.found is None else f"{check.found:.3f}"
        bounds = f"{check.low:.3f} to {check.high:.3f}"
        checks.add_row(CHECKS[check.name][0], found, bounds, "holds" if check.holds else "FAILS")
    console.print(checks)
    if audit.membership is not None:
        risk = audit.membership
        console.print(
            f"Membership attack on the model (a risk figure, no guarantee): AUC {risk.auc:.3f} "
            f"({risk.low:.3f} to {risk.high:.3f}), advantage {risk.advantage:.3f}; epsilon allows "
            f"{risk.allowed:.3f}."
        )
    console.print(f"Page: {page}")
