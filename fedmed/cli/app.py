"""The commands and their options; each loads what it needs when it runs."""

from __future__ import annotations

import datetime
import json
import time
from enum import Enum
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated

import typer

from fedmed.cli import frontier
from fedmed.cli.data_commands import data_app
from fedmed.cli.ready_kinds import ReadyStudy
from fedmed.cli.study_text import read_study_text

app = typer.Typer(
    name="fedmed",
    help="Privacy-preserving federated computation for provincial health-insurance data holders.",
    epilog="Start with: fedmed demo",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
study_app = typer.Typer(help="Write, check and run studies.", no_args_is_help=True)
app.add_typer(study_app, name="study")
app.add_typer(data_app, name="data")
app.command("frontier", epilog=frontier.EPILOG)(frontier.frontier)
# What runs at a province or at the coordinator brings its own commands: the library imports neither.
for _commands in entry_points(group="fedmed.commands"):
    app.add_typer(_commands.load(), name=_commands.name)

SIMULATED_PEOPLE, DEPLOYED_PEOPLE = 80_000, 8_000


class DemoData(Enum):
    """Rows that the demonstration can use."""

    SYNTHETIC = "synthetic"
    RAND_HIE = "rand-hie"


class SchemeName(Enum):
    """Secure sums by name."""

    THRESHOLD = "threshold"
    CKKS = "ckks"
    PLAIN = "plain"


AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]
Out = Annotated[Path, typer.Option(help="Folder for runs; this run gets OUT/<study id>.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of rows and baselines; noise has none.")]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (TOML).")]
DataFile = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="FILE|FOLDER",
        help="CSV or Parquet with the rows of all sites, or a folder with a folder a province.",
    ),
]
SiteColumn = Annotated[str, typer.Option(metavar="COL", help="Column of FILE that names the site.")]

Lose = Annotated[
    list[str] | None,
    typer.Option(metavar="NODE@PHASE[:N]", help="Drill: lose NODE at contribute or open of its N-th sum."),
]


@app.command(epilog="Example: fedmed demo --people 80000 --epsilon 1")
def demo(
    people: Annotated[
        int | None,
        typer.Option(
            help="Insured persons in all four provinces (synthetic). Default: 80000; with --deploy 8000."
        ),
    ] = None,
    seed: Seed = 1,
    epsilon: Annotated[float, typer.Option(help="Privacy loss allowed per person, in (0, 100].")] = 1.0,
    data: Annotated[DemoData, typer.Option(help="Whose rows.")] = DemoData.SYNTHETIC,
    scheme: Annotated[SchemeName, typer.Option(help="How contributions are summed.")] = SchemeName.THRESHOLD,
    out: Out = Path("runs"),
    lose: Lose = None,
    deploy: Annotated[
        bool, typer.Option("--deploy", help="As real processes over TLS, with 10 aggregations.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Four provinces build a model together, under privacy, on this machine."""
    from fedmed.cli.demo_study import Source, demo_study, demo_tables
    from fedmed.cli.runs import RunOptions, run_and_show
    from fedmed.types import Scheme

    source = Source(data.value)
    if people is None:
        people = DEPLOYED_PEOPLE if deploy else SIMULATED_PEOPLE
    spec = demo_study(source, people=people, epsilon=epsilon, scheme=Scheme(scheme.value), today=_today())
    tables = demo_tables(source, people=people, seed=seed)
    options = RunOptions(out=out, seed=seed, lose=tuple(lose or ()), as_json=as_json)
    if deploy:
        from fedmed.cli.deploy_demo import deploy_and_show, short_study

        deploy_and_show(short_study(spec), tables, options=options)
        return
    run_and_show(spec, tables, options=options)


@study_app.command(
    "new",
    epilog="Example: fedmed study new --kind survival my.toml; or "
    "fedmed study new --data claims.csv --label 'cost>=20000' --person psn_no my.toml",
)
def study_new(
    path: Annotated[Path, typer.Argument(metavar="OUT.toml", help="File to write; must not exist yet.")],
    kind: Annotated[
        ReadyStudy, typer.Option(help="What it asks; all but training run on generated provinces as written.")
    ] = ReadyStudy.TRAINING,
    data: DataFile = None,
    site_column: SiteColumn = "site",
    label: Annotated[str | None, typer.Option(metavar="COL[>=X]", help="Outcome in FILE.")] = None,
    person: Annotated[
        str | None, typer.Option(metavar="COL", help="Pseudonym in FILE; without it every row is a person.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a study file with comments: the demonstration's, or a proposal for a file of yours."""
    from fedmed.cli.new_study import demonstration_file, proposed_file
    from fedmed.cli.ready_studies import next_commands, ready_study
    from fedmed.errors import ConfigError

    then = ""
    if kind is not ReadyStudy.TRAINING:
        if data is not None:
            raise ConfigError("--data proposes a training study; leave it out with --kind")
        text, then = ready_study(kind, today=_today()), f"\nthen:\n{next_commands(kind, str(path))}"
    elif data is None:
        text = demonstration_file(_today())
    elif label is None:
        raise ConfigError("--label is missing: name the outcome's column, as --label 'cost>=20000'")
    else:
        text = proposed_file(data, site_column=site_column, label=label, person=person, today=_today())
    _write_new(path, text)
    _answer(
        {"study_file": str(path)},
        f"wrote {path}\nnext: read it, then fedmed study check {path}{then}",
        as_json,
    )


@study_app.command("check", epilog="Example: fedmed study check my.toml --data claims.csv")
def study_check(
    study: StudyFile,
    data: DataFile = None,
    site_column: SiteColumn = "site",
    cap: Annotated[
        float | None,
        typer.Option(min=0, help="Epsilon that a province allows in a year. Default: the study's."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show privacy, bytes, time, disk and who can decrypt, before anything runs."""
    from rich.console import Console

    from fedmed.cli.check import check_document, check_lines
    from fedmed.cli.runs import quiet_stdout
    from fedmed.cli.tables import tables_for
    from fedmed.study import load_study

    with quiet_stdout(as_json):
        spec = load_study(read_study_text(study))
        document = check_document(spec, cap=cap)
        if data is not None:
            tables = tables_for(spec, data=data, site_column=site_column, seed=0)
            document["data"] = {node: f"{table.num_rows:,} rows, fit" for node, table in tables.items()}
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
        return
    console = Console()
    for line in check_lines(document):
        console.print(line)


@study_app.command("run", epilog="Example: fedmed study run my.toml --data claims.csv")
def study_run(
    study: StudyFile,
    data: DataFile = None,
    site_column: SiteColumn = "site",
    seed: Seed = 1,
    out: Out = Path("runs"),
    lose: Lose = None,
    as_json: AsJson = False,
) -> None:
    """Run a study in simulation: all nodes in this process, each with its own store and keys."""
    from fedmed.cli.runs import RunOptions, run_and_show
    from fedmed.cli.tables import tables_for
    from fedmed.study import load_study

    spec = load_study(read_study_text(study))
    tables = tables_for(spec, data=data, site_column=site_column, seed=seed)
    options = RunOptions(out=out, seed=seed, lose=tuple(lose or ()), as_json=as_json)
    run_and_show(spec, tables, options=options)


@study_app.command("report", epilog="Example: fedmed study report runs/demo")
def study_report(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN_FOLDER", help="Folder of a finished run.")],
    as_json: AsJson = False,
) -> None:
    """Render report.html of a finished run again, from its result.json."""
    from fedmed.cli.runs import report_and_show

    report_and_show(run_folder, as_json=as_json)


@app.command(epilog="Example: fedmed audit my.toml --data claims.csv --runs 3 (exit code 6: a check fails)")
def audit(
    study: StudyFile,
    data: DataFile = None,
    site_column: SiteColumn = "site",
    canaries: Annotated[
        int | None,
        typer.Option(min=100, max=4096, help="Made-up persons at all sites. Default: the study's, or 1000."),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, max=100, help="Run the study this often.")] = 1,
    seed: Seed = 1,
    out: Annotated[Path, typer.Option(help="Folder for runs; this one gets OUT/<study id>-audit.")] = Path(
        "runs"
    ),
    as_json: AsJson = False,
) -> None:
    """Run a study in simulation with canaries: is the noise there, are persons bounded, does epsilon hold?

    A deployed study is audited by the section "audit" of its own file, which the provinces approve.
    """
    from fedmed.cli.audit import AuditOptions, audit_and_show
    from fedmed.cli.runs import quiet_stdout
    from fedmed.cli.tables import tables_for
    from fedmed.study import as_training, load_study

    spec = as_training(load_study(read_study_text(study)))
    with quiet_stdout(as_json):
        tables = tables_for(spec, data=data, site_column=site_column, seed=seed)
    options = AuditOptions(out=out, canaries=canaries, runs=runs, as_json=as_json)
    audit_and_show(spec, tables, options=options)


@app.command(epilog="Example: fedmed verify release.zip --roster 3f0c...e1 (exit code 6: it does not hold)")
def verify(
    bundle: Annotated[
        Path, typer.Argument(metavar="BUNDLE", help="Folder or ZIP file of fedmed server export.")
    ],
    roster: Annotated[
        str | None,
        typer.Option(metavar="DIGEST", help="The roster that you trust, as a province pinned it."),
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Check a finished study's release offline: signatures, protocol, privacy spent and model."""
    from fedmed.cli.verify import verify_and_show

    return verify_and_show(bundle, roster=roster, as_json=as_json)


@app.command(
    epilog="Example: fedmed doctor /var/lib/fedmed --study my.toml --front-door fedmed.example.cn:443"
)
def doctor(
    home: Annotated[
        Path | None, typer.Argument(metavar="[HOME]", help="A node's or a coordinator's home to look at.")
    ] = None,
    study: Annotated[
        Path | None, typer.Option(help="Look also whether this home can serve this study file.")
    ] = None,
    front_door: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The coordinator's front door, as nodes reach it.")
    ] = "",
    authority: Annotated[
        Path | None, typer.Option(metavar="FILE", help="ca.crt that the front door is verified by.")
    ] = None,
    courier: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="The node's courier, if not in HOME/courier.")
    ] = None,
    crypto: Annotated[bool, typer.Option("--crypto", help="Recompute the parameter sets' margins.")] = False,
    as_json: AsJson = False,
) -> int:
    """Look at this machine, at a home, and at the way to the front door; say what mends what is not well.

    Ends with 0 when nothing must be mended, otherwise with 2. As root it becomes the home's user first.
    """
    from fedmed.cli.doctor import document, findings, lines
    from fedmed.cli.runs import quiet_stdout
    from fedmed.doctor.finding import Question
    from fedmed.errors import ConfigError
    from fedmed.study import load_study

    spec, question = None if study is None else load_study(read_study_text(study)), None
    if home is not None:
        began = time.monotonic()
        question = Question(
            home=home.absolute(),
            now=datetime.datetime.now(tz=datetime.UTC),
            study=spec,
            front_door=front_door,
            authority=authority,
            courier=None if courier is None else courier.absolute(),
            elapsed_s=lambda: time.monotonic() - began,
        )
    elif spec is not None:
        raise ConfigError("--study needs a home to compare it with; name one, or use fedmed study check")
    found = []
    with quiet_stdout(as_json):
        for one in findings(question, front_door=front_door, authority=authority, crypto=crypto):
            found.append(one)
            if not as_json:
                typer.echo(lines(one))
    if as_json:
        typer.echo(document(found))
    return 0 if all(one.ok for one in found) else 2


def _today() -> datetime.date:
    """The day, read here at the edge and nowhere below."""
    return datetime.datetime.now(tz=datetime.UTC).date()


def _write_new(path: Path, text: str) -> None:
    """Write a file that is not there yet."""
    from fedmed.errors import ConfigError

    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise ConfigError(f"{path} exists already; give another name, or remove it first") from None
    except OSError as fault:
        raise ConfigError(
            f"cannot write {path}: {fault.strerror}; give a folder that can be written"
        ) from None


def _answer(document: dict[str, object], text: str, as_json: bool) -> None:
    """Print a short answer in the form that was asked for."""
    typer.echo(json.dumps(document, ensure_ascii=False) if as_json else text)
