"""The demonstration as a deployment: real processes over TLS on loopback, in one temporary folder."""

from __future__ import annotations

import datetime
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from fedmed.cli.runs import RunOptions, quiet_stdout, show_result
from fedmed.report.live import shown_progress
from fedmed.report.units import byte_size
from fedmed.study import TrainingStudy, as_training, canonical_bytes, load_study, study_digest, to_toml
from fedmed.types import require

if TYPE_CHECKING:
    import pyarrow as pa

    from fedmed.outcome import FederatedRun
    from fedmed.report import Result

AGGREGATIONS = 10
_APP = "local_federation"


def short_study(spec: TrainingStudy) -> TrainingStudy:
    """The demonstration's study with `AGGREGATIONS` aggregations: each takes two phases of some seconds."""
    training = spec.training.model_copy(update={"aggregations": AGGREGATIONS})
    report = spec.report.model_copy(update={"baselines": False})
    return as_training(load_study(to_toml(spec.model_copy(update={"training": training, "report": report}))))


def deploy_and_show(spec: TrainingStudy, tables: Mapping[str, pa.Table], *, options: RunOptions) -> None:
    """Run a study on a federation of real processes and show the result.

    Args:
        spec: The study.
        tables: Rows by node key; each custodian gets its own as a file.
        options: How to show it.

    Raises:
        ConfigError: losses on purpose are asked for; they belong to the simulation.
        FedMedError: whatever stops the study or one of the processes.
        OSError: a folder cannot be written.
    """
    require(not options.lose, "--lose belongs to the simulation; leave out --deploy or --lose")
    began, folder = time.monotonic(), options.out / spec.id
    with quiet_stdout(options.as_json):
        from fedmed.report import write_report
        from fedmed.simulation import load_app

        console = Console(stderr=options.as_json)
        temporary = Path(tempfile.mkdtemp(prefix="fedmed-"))
        try:
            files = _write_tables(tables, temporary)
            with shown_progress(console, title=spec.title) as on_progress:
                local = load_app(_APP)(spec, files, folder=temporary / "f", on_progress=on_progress)
            result = _result(spec, tables, local, seconds=time.monotonic() - began, folder=folder)
        finally:
            shutil.rmtree(temporary)
        page = write_report(folder, result)
        _show_phases(console, local)
    show_result(result, page=page, as_json=options.as_json)


def _write_tables(tables: Mapping[str, pa.Table], folder: Path) -> dict[str, Path]:
    """A Parquet file for each node."""
    from pyarrow.parquet import write_table

    files = {node: folder / f"{node}.parquet" for node in tables}
    for node, table in tables.items():
        write_table(table, files[node])
    return files


def _result(
    spec: TrainingStudy,
    tables: Mapping[str, pa.Table],
    local: Any,  # fedmed_server.local_federation.LocalRun, which the library cannot import
    *,
    seconds: float,
    folder: Path,
) -> Result:
    """Score the model as only a demonstration can, whose rows are known, and write the run's folder."""
    from fedmed.comparison import judge, make_bench, mean_auc
    from fedmed.outcome import make_result, write_run
    from fedmed.plans.training import model_of
    from fedmed.protocol.schedule import schedule_for
    from fedmed.report.result import Arms, CurvePoint

    run: FederatedRun = local.run
    schedule = schedule_for(spec)
    model = model_of(spec)
    start = model.initial(study_digest(canonical_bytes(spec)))
    bench = make_bench(spec, schedule, tables, start=start)
    result = make_result(
        spec,
        schedule,
        run,
        arms=Arms(federated=judge(bench, run.parameters)),
        curve=tuple(
            CurvePoint(aggregation=n, federated=mean_auc(bench, parameters))
            for n, parameters in enumerate(run.history, start=1)
        ),
        seconds={**local.seconds, "baselines": 0.0, "total": seconds},
        now=datetime.datetime.now(tz=datetime.UTC),
    ).model_copy(update={"simulation": False})
    write_run(folder, spec, result, parameters=run.parameters, model=model, seed=0)
    return result


def _show_phases(console: Console, local: Any) -> None:  # LocalRun, as above
    """Where the time went: the parts of the deployment, then the phases of the study."""
    table = Table(title="Where the time went", title_justify="left", box=None, pad_edge=False)
    for name in ("part", "seconds", "bytes"):
        table.add_column(name, justify="left" if name == "part" else "right")
    for name in ("setup", "start"):
        table.add_row(name, f"{local.seconds[name]:.1f}", "")
    told = 0.0
    for name, total in local.run.totals.items():
        told += total.seconds
        table.add_row(f"study: {name}", f"{total.seconds:.1f}", byte_size(total.up + total.down))
    table.add_row("study: between phases", f"{local.seconds['study'] - told:.1f}", "")
    table.add_row("stop", f"{local.seconds['stop']:.1f}", "")
    console.print(table)
