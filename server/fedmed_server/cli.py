"""``fedmed server``: make a coordinator's home, run it, launch studies on it.

`fedmed.cli` finds these commands by entry point; each loads what it needs when it runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedmed.progress import Progress
    from fedmed_server.home import Home

app = typer.Typer(help="Run the coordinator: its keys, its processes, its studies.", no_args_is_help=True)

HomeFolder = Annotated[Path, typer.Argument(metavar="HOME", help="The coordinator's home folder.")]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (TOML).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]
_STOP_S = 60.0


@app.command(
    epilog="Example: fedmed server init /var/lib/fedmed-server --cards cards --node shanghai --node jiangsu "
    "--node zhejiang --address fedmed.example.cn"
)
def init(
    home: HomeFolder,
    node: Annotated[list[str], typer.Option(help="A node, in the order of the roster; once for each.")],
    address: Annotated[list[str], typer.Option(help="Host name or IP by which nodes reach this machine.")],
    cards: Annotated[
        Path, typer.Option(help="Folder with NODE.toml (its card) and NODE.pub (its SuperNode's key).")
    ] = Path(),
    host: Annotated[str, typer.Option(help="Address that the front door listens on.")] = "0.0.0.0",  # noqa: S104
    port: Annotated[int, typer.Option(help="Port of the front door.")] = 443,
    superlink_port: Annotated[int, typer.Option(help="Port of the SuperLink, on loopback only.")] = 8000,
    as_json: AsJson = False,
) -> None:
    """Make keys, certificates and the roster of the nodes whose cards are given."""
    import datetime

    from fedmed import wire
    from fedmed_server.home import Addresses, create_home, read_card

    given = [read_card(_text(cards / f"{n}.toml"), _text(cards / f"{n}.pub")) for n in node]
    addresses = Addresses(names=tuple(address), host=host, port=port, superlink_port=superlink_port)
    made = create_home(home, given, addresses=addresses, now=datetime.datetime.now(tz=datetime.UTC))
    digest = wire.roster_digest(made.roster()).hex()
    told = {
        "home": str(made.path),
        "roster": str(made.path / "roster.bin"),
        "roster_digest": digest,
        "authority": str(made.authority_certificate),
    }
    typer.echo(json.dumps(told) if as_json else f"roster_digest = {digest}")
    _say(
        f"made {made.path}\nnext: hand {told['roster']} and {told['authority']} to every node, tell each the "
        "roster's digest by another way, then run: fedmed server up"
    )


@app.command(epilog="Example: fedmed server up /var/lib/fedmed-server")
def up(home: HomeFolder) -> None:
    """Run SuperLink, SuperExec and front door until SIGTERM; what ends is started again."""
    from fedmed_server.coordinator import serve

    serve(_home(home), say=_say)


@app.command(epilog="Example: fedmed server status /var/lib/fedmed-server")
def status(home: HomeFolder, as_json: AsJson = False) -> int:
    """Show which processes run and which nodes are online."""
    from fedmed_server import control
    from fedmed_server.coordinator import running_processes

    place = _home(home)
    processes = running_processes(place)
    known = control.node_statuses(place) if processes else {}
    standing = {m.name: known.get(m.name, "not registered") for m in place.roster().members}
    if as_json:
        typer.echo(json.dumps({"processes": processes, "nodes": standing}, ensure_ascii=False))
    else:
        for name, pid in processes.items():
            typer.echo(f"{name}: process {pid}")
        for name, word in standing.items() if processes else ():
            typer.echo(f"{name}: {word}")
        if not processes:
            typer.echo(f"no coordinator runs on {place.path}; start it with fedmed server up {home}")
    return 0 if processes else 1


@app.command(epilog="Example: fedmed server stop /var/lib/fedmed-server")
def stop(home: HomeFolder, as_json: AsJson = False) -> None:
    """Stop the coordinator; a running study can be resumed."""
    from fedmed_server import coordinator

    stopped = coordinator.stop(_home(home), timeout_s=_STOP_S)
    typer.echo(json.dumps({"stopped": stopped}) if as_json else "stopped" if stopped else "nothing runs")


@app.command(epilog="Example: fedmed server launch /var/lib/fedmed-server my.toml")
def launch(
    home: HomeFolder,
    study: StudyFile,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with a run whose ServerApp was killed.")
    ] = False,
    phase_deadline: Annotated[
        float, typer.Option(help="Seconds after which a silent node counts as lost.")
    ] = 600.0,
    nodes_deadline: Annotated[float, typer.Option(help="Seconds to wait for all nodes.")] = 120.0,
    as_json: AsJson = False,
) -> None:
    """Check a study, submit it, and show its progress to the end."""
    from fedmed.errors import ConfigError
    from fedmed.study import load_study
    from fedmed_server.coordinator import is_running
    from fedmed_server.deployed_study import MODEL_FILE
    from fedmed_server.launch import Pace, follow, submit

    place, spec = _home(home), load_study(_text(study))
    if not is_running(place):
        raise ConfigError(f"no coordinator runs on {place.path}; start it with fedmed server up {home}")
    pace = Pace(phase_deadline_s=phase_deadline, nodes_deadline_s=nodes_deadline)
    run_id = submit(place, spec, resume=resume, pace=pace)
    _say(f"run {run_id} of study {spec.id}")
    run = follow(place, spec, run_id, on_progress=_shown())
    model = place.run_folder(spec.id) / MODEL_FILE
    told = {
        "study": spec.id,
        "aggregations": len(run.history),
        "attempts": run.plans,
        "epsilon_spent": run.epsilon_spent,
        "seconds": {name: total.seconds for name, total in run.totals.items()},
        "model": str(model),
    }
    text = f"{len(run.history)} aggregations, epsilon {run.epsilon_spent:.3f} spent; model {model}"
    typer.echo(json.dumps(told, ensure_ascii=False) if as_json else text)


def _shown() -> Callable[[Progress], None]:
    """Tell each phase in a line on stderr."""

    def show(event: Progress) -> None:
        where = f" {event.round_number}/{event.rounds}" if event.round_number else ""
        bad = [f"{node} {state}" for node, state in event.states.items() if state != "done"]
        spent = f", epsilon {event.epsilon_spent:.3f} of {event.epsilon_planned:.3f}"
        _say(f"{event.phase}{where}{': ' + ', '.join(bad) if bad else ''}{spent if where else ''}")

    return show


def _home(path: Path) -> Home:
    """The home at a path; raises `ConfigError` when there is none."""
    from fedmed.errors import ConfigError
    from fedmed_server.home import Home

    if not (path / "coordinator.toml").exists():
        raise ConfigError(f"{path} is no coordinator's home; make one with fedmed server init")
    return Home(path.absolute())


def _text(path: Path) -> str:
    """A text file; raises `ConfigError`."""
    from fedmed.errors import ConfigError

    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"cannot read {path}: {type(fault).__name__}") from None


def _say(text: str) -> None:
    """Write for people, on stderr."""
    typer.echo(text, err=True)
