"""``fedmed server units, nginx``: files for the machine that a coordinator runs on.

`fedmed_server.cli` takes these commands in; each loads what it needs when it runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

HomeFolder = Annotated[Path, typer.Argument(metavar="HOME", help="The coordinator's home folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]


@app.command(epilog="Example: fedmed server units /var/lib/fedmed-server --out units")
def units(
    home: HomeFolder,
    out: Annotated[Path, typer.Option(help="Folder for the unit file.")],
    as_json: AsJson = False,
) -> None:
    """Write a hardened systemd unit for the coordinator; root installs it."""
    from fedmed.supervision.units import write_units
    from fedmed_server.home import Home
    from fedmed_server.units import coordinator_service

    (path,) = write_units([coordinator_service(Home(home.absolute()))], out)
    typer.echo(json.dumps({"units": [str(path)]}, ensure_ascii=False) if as_json else str(path))
    _say(
        f"next, as root: cp {path} /etc/systemd/system/ && systemctl daemon-reload && "
        f"systemctl enable --now {path.name}"
    )


@app.command(epilog="Example: fedmed server nginx /var/lib/fedmed-server --out fedmed.conf")
def nginx(
    home: HomeFolder,
    out: Annotated[Path, typer.Option(help="File to write.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port that nginx listens on.")] = 443,
    as_json: AsJson = False,
) -> None:
    """Write an nginx file that forwards SuperNodes' calls, and nothing else, to the SuperLink."""
    from fedmed.errors import ConfigError
    from fedmed_server.home import Home
    from fedmed_server.units import nginx_text

    text = nginx_text(Home(home.absolute()), port=port)
    try:
        out.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"cannot write {out}: {fault.strerror}; name another file") from None
    typer.echo(json.dumps({"nginx": str(out)}, ensure_ascii=False) if as_json else str(out))
    _say(f"next, as root: cp {out} /etc/nginx/conf.d/fedmed.conf && nginx -t && systemctl reload nginx")


def _say(text: str) -> None:
    """Write for people, on stderr."""
    typer.echo(text, err=True)
