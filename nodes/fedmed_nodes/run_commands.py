"""``fedmed node courier, up, status, units``: the node's processes, for its operator.

`fedmed_nodes.cli` takes these commands in; each loads what it needs when it runs.
"""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
_WATCH_S = 5.0

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]


@app.command(
    epilog="Example: fedmed node courier /var/lib/fedmed/courier --name shanghai --home /var/lib/fedmed "
    "--front-door fedmed.example.cn:443"
)
def courier(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The new folder; HOME/courier is usual.")],
    name: Annotated[str, typer.Option(help="The node's name in the roster.")],
    home: Annotated[Path | None, typer.Option(help="The home whose custodian it serves.")] = None,
    socket: Annotated[Path | None, typer.Option(help="The custodian's socket, instead of --home.")] = None,
    front_door: Annotated[str, typer.Option(help="HOST:PORT of the front door, when known.")] = "",
    authority: Annotated[Path | None, typer.Option(help="The coordinator's ca.crt, when known.")] = None,
    port: Annotated[int, typer.Option(help="Port of the SuperNode's own interface, loopback only.")] = 9094,
    user: Annotated[str | None, typer.Option(help="Whose it shall be; root must name one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Make the folder of a node's Flower side, and print the public key for the coordinator."""
    import os
    import pwd

    from pydantic import ValidationError

    from fedmed.errors import ConfigError
    from fedmed_nodes.courier import CourierFile, create_courier
    from fedmed_nodes.home import Home, account
    from fedmed_nodes.node_config import socket_of

    if home is not None:
        place = socket_of(Home(home.absolute()).node(), home.absolute())
    elif socket is not None:
        place = socket.absolute()
    else:
        raise ConfigError("name the custodian by --home or by --socket")
    if user is None and os.geteuid() == 0:
        raise ConfigError("--user is missing: name the user that SuperNode and SuperExec run as")
    try:
        settings = CourierFile(version=1, front_door=front_door, port=port, socket=str(place))
    except ValidationError:
        raise ConfigError("--front-door must be HOST:PORT and --port must be in 1..65535") from None
    owner = pwd.getpwuid(os.geteuid()) if user is None else account(user)
    line = create_courier(folder, name, settings=settings, authority=authority, user=owner)
    typer.echo(json.dumps({"folder": str(folder), "supernode_key": line}) if as_json else line)
    _say(f"made {folder}\nnext: send this line to the coordinator as {name}.pub, together with the card")


@app.command(epilog="Example: fedmed node up /var/lib/fedmed")
def up(
    place: Annotated[Path, typer.Argument(metavar="HOME", help="A home; or a courier's folder alone.")],
    courier: Annotated[
        Path | None, typer.Option(help="The home's courier, where it is not HOME/courier.")
    ] = None,
    show: Annotated[
        bool, typer.Option("--show", help="Say what would run, for another supervisor; run nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run custodian, SuperNode and SuperExec until SIGTERM; what ends or stands still is started again."""
    from fedmed_nodes.watchdog import planned
    from fedmed_nodes.watchdog import up as run

    if not show:
        run(place.absolute(), courier=courier, say=_stamped)
        return
    programs = [
        {
            "name": program.name,
            "command": list(program.command),
            "environment": dict(program.environment),
            "log": str(program.log),
        }
        for program in planned(place.absolute(), courier=courier)
    ]
    lines = [f"{program['name']}: {shlex.join(program['command'])}" for program in programs]
    typer.echo(json.dumps({"programs": programs}, ensure_ascii=False) if as_json else "\n".join(lines))


@app.command(epilog="Example: fedmed node status /var/lib/fedmed --watch")
def status(
    place: Annotated[
        Path, typer.Argument(metavar="HOME", help="A home, a courier's folder, or a custodian's socket.")
    ],
    courier: Annotated[
        Path | None, typer.Option(help="The home's courier, where it is not HOME/courier.")
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again every 5 s until Ctrl-C.")] = False,
    as_json: AsJson = False,
) -> int:
    """Show processes, front door, budget and studies; exit code 1 when something needs the operator."""
    import datetime
    import time

    from fedmed.errors import ConfigError
    from fedmed_nodes.status_view import status_document, status_lines

    if watch and as_json:
        raise ConfigError("--watch and --json exclude each other: ask again for another document")
    while True:
        now = datetime.datetime.now(tz=datetime.UTC)
        document = status_document(place.absolute(), courier=courier, now=now)
        if watch:
            typer.clear()
            typer.echo(f"{now.astimezone().isoformat(timespec='seconds')} {place}")
        typer.echo(json.dumps(document, ensure_ascii=False) if as_json else status_lines(document))
        if not watch:
            return 1 if document["faults"] else 0
        time.sleep(_WATCH_S)


@app.command(
    epilog="Example: fedmed node units /var/lib/fedmed --courier /var/lib/fedmed-courier --out units"
)
def units(
    home: Annotated[Path, typer.Argument(metavar="HOME", help="The node's home folder.")],
    out: Annotated[Path, typer.Option(help="Folder for the unit files.")],
    courier: Annotated[
        Path | None, typer.Option(help="The home's courier, where it is not HOME/courier.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write hardened systemd units for the custodian and the courier; root installs them."""
    from fedmed.supervision.units import write_units
    from fedmed_nodes.courier import COURIER, Courier
    from fedmed_nodes.home import Home
    from fedmed_nodes.units import node_services

    place = Courier((courier or home / COURIER).absolute())
    paths = write_units(node_services(Home(home.absolute()), place), out)
    told = [str(path) for path in paths]
    typer.echo(json.dumps({"units": told}, ensure_ascii=False) if as_json else "\n".join(told))
    names = " ".join(path.name for path in paths)
    _say(
        f"next, as root: cp {' '.join(told)} /etc/systemd/system/ && systemctl daemon-reload && "
        f"systemctl enable --now {names}"
    )


def _stamped(text: str) -> None:
    """Write a line with its time, on stderr."""
    import datetime

    now = datetime.datetime.now(tz=datetime.UTC).astimezone()
    _say(f"{now.isoformat(timespec='seconds')} {text}")


def _say(text: str) -> None:
    """Write for people, on stderr."""
    typer.echo(text, err=True)
