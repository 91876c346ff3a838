"""``fedmed server``: make a coordinator's home, run it, launch studies on it.

`fedmed.cli` finds these commands by entry point; each loads what it needs when it runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedmed_server import key_commands, machine_commands, review_commands

if TYPE_CHECKING:
    from fedmed.study import StudySpec
    from fedmed_server.home import Home

app = typer.Typer(help="Run the coordinator: its keys, its processes, its studies.", no_args_is_help=True)
app.add_typer(machine_commands.app)
app.add_typer(key_commands.app)
app.add_typer(review_commands.app)

HomeFolder = Annotated[Path, typer.Argument(metavar="HOME", help="The coordinator's home folder.")]
StudyFile = Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (TOML).")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]
_STOP_S = 60.0
_INTERRUPTED = 130


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
    owner: Annotated[
        list[str] | None,
        typer.Option(help="Who may own a study, as studies name it; once for each. None: anybody."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make keys, certificates and the roster of the nodes whose cards are given."""
    import datetime

    from fedmed import wire
    from fedmed_server.home import Addresses, create_home, read_card

    given = [read_card(_sent(cards / f"{n}.toml"), _sent(cards / f"{n}.pub")) for n in node]
    addresses = Addresses(names=tuple(address), host=host, port=port, superlink_port=superlink_port)
    now, owners = datetime.datetime.now(tz=datetime.UTC), tuple(owner or ())
    made = create_home(home, given, addresses=addresses, now=now, owners=owners)
    digest, listed = wire.roster_digest(made.roster()).hex(), list(made.roster().owners)
    told: dict[str, object] = {
        "home": str(made.path),
        "roster": str(made.path / "roster.bin"),
        "roster_digest": digest,
        "authority": str(made.authority_certificate),
        "owners": listed,
    }
    typer.echo(json.dumps(told) if as_json else f"roster_digest = {digest}")
    _say(
        f"made {made.path}\nstudy owners: {', '.join(listed) or 'anybody; --owner lists them'}\n"
        f"next: hand {told['roster']} and {told['authority']} to every node, tell each the "
        "roster's digest by another way, then run: fedmed server up"
    )


@app.command(epilog="Example: fedmed server up /var/lib/fedmed-server")
def up(home: HomeFolder) -> None:
    """Run SuperLink, SuperExec and front door until SIGTERM; what ends is started again."""
    from fedmed_server.coordinator import serve

    serve(_home(home), say=_say)


@app.command(
    epilog="Example: fedmed server status /var/lib/fedmed-server --watch (exit code 1: nothing runs)"
)
def status(
    home: HomeFolder,
    watch: Annotated[
        bool, typer.Option("--watch", help="Follow the running study; Ctrl-C only stops the watching.")
    ] = False,
    as_json: AsJson = False,
) -> int:
    """Show which processes run, which nodes are online and where the studies stand."""
    from fedmed_server.status_view import status_document, status_lines

    place = _home(home)
    document = status_document(place)
    if as_json:
        typer.echo(json.dumps(document, ensure_ascii=False, indent=2))
    else:
        typer.echo("\n".join(status_lines(document, home=home)))
    if watch:
        return _watch(place)
    return 0 if document["processes"] else 1


@app.command(epilog="Example: fedmed server stop /var/lib/fedmed-server --study high-cost")
def stop(
    home: HomeFolder,
    study: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Stop this study only; the coordinator goes on running."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Stop the coordinator, or one study; what was under way can be resumed."""
    from fedmed_server import coordinator, launch

    place = _home(home)
    if study is not None:
        stopped, what = launch.stop_study(place, study), f"study {study}"
    else:
        stopped, what = coordinator.stop(place, timeout_s=_STOP_S), "the coordinator"
    text = f"stopped {what}" if stopped else f"nothing runs: {what} was not running"
    typer.echo(json.dumps({"stopped": stopped}) if as_json else text)


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
) -> int:
    """Check a study, submit it, show its progress and leave its result; Ctrl-C leaves it running."""
    from fedmed.study import load_study
    from fedmed_server.coordinator import is_running
    from fedmed_server.files import read_text
    from fedmed_server.launch import Pace, check, submit, wait_for_nodes

    place, spec = _home(home), load_study(read_text(study))
    check(place, spec)
    if not is_running(place):
        from fedmed.errors import ConfigError

        raise ConfigError(f"no coordinator runs on {place.path}; start it with fedmed server up {home}")
    wait_for_nodes(
        place, deadline_s=nodes_deadline, on_wait=lambda names: _say(f"waiting for {', '.join(names)}")
    )
    pace = Pace(phase_deadline_s=phase_deadline, nodes_deadline_s=nodes_deadline)
    run_id = submit(place, spec, resume=resume, pace=pace)
    _say(f"run {run_id} of study {spec.id}")
    return _follow(place, spec.id, run_id=run_id, as_json=as_json)


@app.command(epilog="Example: fedmed server export /var/lib/fedmed-server high-cost --out release.zip")
def export(
    home: HomeFolder,
    study: Annotated[str, typer.Argument(metavar="STUDY_ID", help="Id of a finished study.")],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.zip|FOLDER", help="New file or folder. Default: release.zip in the run's folder."
        ),
    ] = None,
    exact_sums: Annotated[
        bool, typer.Option("--exact-sums", help="Of an exact study: the release may hold its exact sums.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write the release of a finished study, for anybody to check with fedmed verify."""
    from fedmed import wire
    from fedmed_server.export import export as write
    from fedmed_server.export import study_roster

    place = _home(home)
    written = write(place, study, out=out, exact_sums=exact_sums)
    digest = wire.roster_digest(study_roster(place, study)).hex()
    told = {"study": study, "release": str(written), "roster_digest": digest}
    typer.echo(json.dumps(told, ensure_ascii=False) if as_json else f"wrote {written}")
    _say(f"next: fedmed verify {written} --roster {digest}")


@app.command(
    epilog="Example: fedmed server catalogue /var/lib/fedmed-server --from catalogues --html federation.html"
)
def catalogue(
    home: HomeFolder,
    folder: Annotated[
        Path, typer.Option("--from", metavar="FOLDER", help="Holds NODE.catalogue.json of each province.")
    ],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what may be asked of the federation, and where provinces differ; signatures are checked."""
    from fedmed.catalogue.page import federation_sheet
    from fedmed.catalogue.text import federation_text
    from fedmed.errors import ConfigError
    from fedmed.report.sheet import render_sheet
    from fedmed_server.catalogue_desk import federation_document, read_catalogues

    found, missing = read_catalogues(folder, _home(home).roster())
    if html is not None:
        try:
            html.write_text(render_sheet(federation_sheet(found, missing)), encoding="utf-8")
        except OSError as fault:
            raise ConfigError(f"cannot write {html}: {fault.strerror}; name another file") from None
        _say(f"page: {html}")
    document = federation_document(found, missing)
    typer.echo(json.dumps(document, ensure_ascii=False) if as_json else federation_text(found, missing))


def _follow(place: Home, study: str, *, run_id: int | None, as_json: bool) -> int:
    """Show a run to its end, then its result; Ctrl-C ends the showing and nothing else."""
    from fedmed.report.live import progress_on_stderr
    from fedmed_server.launch import follow
    from fedmed_server.study_status import read_study

    spec = read_study(place, study)
    try:
        with progress_on_stderr(title=spec.title) as on_progress:
            follow(place, spec, run_id, on_progress=on_progress)
    except KeyboardInterrupt:
        _say(
            f"study {study} goes on without this window.\n"
            f"  look again:  fedmed server status {place.path} --watch\n"
            f"  stop it:     fedmed server stop {place.path} --study {study}"
        )
        raise typer.Exit(_INTERRUPTED) from None
    _show(place, study, as_json=as_json)
    return 0


def _show(place: Home, study: str, *, as_json: bool) -> None:
    """The result of a finished study, as ``fedmed study run`` shows that of a simulated one."""
    from fedmed.report.terminal import show_summary
    from fedmed.report.write import PAGE_NAME
    from fedmed.study import TrainingStudy
    from fedmed_server.delivery import deliver
    from fedmed_server.study_status import read_study

    spec, folder = read_study(place, study), place.run_folder(study)
    if not isinstance(spec, TrainingStudy):
        _show_answer(place, spec, as_json=as_json)
        return
    result = deliver(folder, spec)
    if as_json:
        typer.echo(result.to_json(), nl=False)
        return
    show_summary(result, page=folder / PAGE_NAME)
    typer.echo(f"Release  fedmed server export {place.path} {study}")


def _show_answer(place: Home, spec: StudySpec, *, as_json: bool) -> None:
    """The result of a finished study of another kind than training."""
    from fedmed.report.answers.files import PAGE_NAME
    from fedmed.report.answers.terminal import show_answer
    from fedmed_server.delivery import deliver_question

    folder = place.run_folder(spec.id)
    document = deliver_question(folder, spec)
    if as_json:
        typer.echo(document)
        return
    show_answer(json.loads(document), page=folder / PAGE_NAME)
    if not spec.privacy.is_exact:  # the release of an exact one is confidential: whoever needs it asks for it
        typer.echo(f"Release  fedmed server export {place.path} {spec.id}")


def _watch(place: Home) -> int:
    """Follow the study that runs now, or show the result of the last one if that is finished."""
    from fedmed_server.study_status import State, read_run, studies

    found = studies(place)
    running = [one.study for one in found if one.state is State.RUNNING]
    if running:
        return _follow(place, running[0], run_id=read_run(place.run_folder(running[0])), as_json=False)
    if found and found[0].state is State.FINISHED:
        _show(place, found[0].study, as_json=False)
        return 0
    _say("no study runs now")
    return 1


def _home(path: Path) -> Home:
    """See `fedmed_server.home.open_home`."""
    from fedmed_server.home import open_home

    return open_home(path)


def _sent(path: Path) -> str:
    """A file that a province sends; raises `ConfigError`."""
    from fedmed.errors import ConfigError
    from fedmed_server.files import read_text

    if not path.exists():
        raise ConfigError(
            f"there is no {path}; a province sends NODE.toml, its card, and NODE.pub, its SuperNode's key"
        )
    return read_text(path)


def _say(text: str) -> None:
    """Write for people, on stderr."""
    typer.echo(text, err=True)
