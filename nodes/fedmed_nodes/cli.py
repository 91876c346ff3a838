"""``fedmed node``: make a home, run its custodian, and what the operator asks of it.

`fedmed.cli` finds these commands by entry point; each loads what it needs when it runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, TextIO

import typer

from fedmed_nodes import key_commands, operator_commands, review_commands, run_commands

app = typer.Typer(help="Run a province's node: its custodian, budget and log.", no_args_is_help=True)
app.add_typer(run_commands.app)
app.add_typer(key_commands.app)
app.add_typer(operator_commands.app)
app.add_typer(review_commands.app)

HomeFolder = Annotated[Path, typer.Argument(metavar="HOME", help="The node's home folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]


@app.command(epilog="Example: sudo fedmed node init /var/lib/fedmed --name shanghai --user fedmed")
def init(
    home: HomeFolder,
    name: Annotated[str, typer.Option(help="The node's name in the roster.")],
    user: Annotated[str | None, typer.Option(help="The custodian's own user; root must name one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make a home with new keys, and print the public card for the coordinator."""
    import os
    import pwd

    from fedmed.crypto.card import card_document, card_text
    from fedmed.errors import ConfigError
    from fedmed_nodes.home import account, create_home

    if user is None and os.geteuid() == 0:
        raise ConfigError("--user is missing: the custodian should run as a user of its own, not as root")
    owner = pwd.getpwuid(os.geteuid()) if user is None else account(user)
    public = create_home(home, name, user=owner)
    typer.echo(
        json.dumps({"card": card_document(public)}, ensure_ascii=False) if as_json else card_text(public),
        nl=as_json,
    )
    _say(f"made {home}\nnext: send the card to the coordinator, edit node.toml and policy.toml there")


@app.command(epilog="Example: fedmed node register /var/lib/fedmed person_year --study study.toml")
def register(
    home: HomeFolder,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The dataset, as node.toml names it.")],
    study: Annotated[
        Path | None, typer.Option(help="Look also whether this study file could be served.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read a dataset once, and write what it holds into node.toml; as root it becomes the home's user first.

    Do it again when the rows change. Columns that stand in node.toml stay the registered ones.
    """
    from fedmed.study import load_study
    from fedmed_nodes.home import Home, account, become
    from fedmed_nodes.operator_views import registration_document, registration_lines
    from fedmed_nodes.register_desk import register_dataset

    spec = None if study is None else load_study(_text(study))
    place = Home(home.absolute())
    become(account(place.node().user), home=place.path)
    found = register_dataset(place, name, study=spec)
    document = registration_document(name, found, study=None if spec is None else spec.id)
    typer.echo(json.dumps(document, ensure_ascii=False) if as_json else registration_lines(document))
    if found.withheld:
        _say(f"warning: registered, but not served: {found.withheld}, or let the data holder lower the gate")
    _say("a custodian that runs must be started again to serve it")


@app.command(
    epilog="Example: fedmed node catalogue /var/lib/fedmed --html page.html --out shanghai.catalogue.json"
)
def catalogue(
    home: HomeFolder,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the signed catalogue, for the coordinator.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what may be asked here, and publish it signed: columns, grades, rules, scores, bands; no row."""
    from fedmed.catalogue.document import catalogue_document, signed_catalogue
    from fedmed.catalogue.page import node_sheet
    from fedmed.catalogue.text import node_text
    from fedmed.report.sheet import render_sheet
    from fedmed_nodes.catalogue_desk import make_catalogue, signing_identity

    # Opened before root is given up: the files are the caller's, the home is the custodian's user's.
    page, signed = _opened(html), _opened(out)
    place, made = make_catalogue(home)
    if page is not None:
        with page:
            page.write(render_sheet(node_sheet(made)))
    if signed is not None:
        with signed:
            signed.write(signed_catalogue(made, signing_identity(place)))
    typer.echo(json.dumps(catalogue_document(made), ensure_ascii=False) if as_json else node_text(made))
    for name, path in (("page", html), ("signed catalogue", out)):
        if path is not None:
            _say(f"{name}: {path}")
    if out is not None:
        _say(f"next: hand {out} to the coordinator, who runs fedmed server catalogue")


@app.command(epilog="Example: fedmed node serve /var/lib/fedmed")
def serve(home: HomeFolder) -> None:
    """Run the custodian until SIGTERM; as root it becomes the home's user first."""
    from fedmed_nodes.home import Home

    Home(home).node(), Home(home).policy()  # a fault in them shows before torch is loaded
    from fedmed_nodes.daemon import serve as run

    run(home, say=_say)


def _text(path: Path) -> str:
    """The text of a study file."""
    from fedmed.errors import ConfigError

    try:
        return path.read_text(encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"cannot read {path}: {fault.strerror}; name a study file") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8") from None


def _opened(path: Path | None) -> TextIO | None:
    """A file to write; raises `ConfigError`."""
    from fedmed.errors import ConfigError

    try:
        return None if path is None else path.open("w", encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"cannot write {path}: {fault.strerror}; name another file") from None


def _say(text: str) -> None:
    """Write for people, on stderr."""
    typer.echo(text, err=True)
