"""``fedmed server bundle build, review, list``: app bundles that provinces have signed.

`fedmed_server.cli` takes these commands in; each loads what it needs when it runs.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import typer

bundle_app = typer.Typer(help="App bundles that provinces review and sign.", no_args_is_help=True)
app = typer.Typer()
app.add_typer(bundle_app, name="bundle")

HomeFolder = Annotated[Path, typer.Argument(metavar="HOME", help="The coordinator's home folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]


@bundle_app.command("build", epilog="Example: fedmed server bundle build /var/lib/fedmed-server study.fab")
def build(
    home: HomeFolder,
    out: Annotated[Path, typer.Argument(metavar="OUT.fab", help="File to write, for the provinces.")],
    as_json: AsJson = False,
) -> None:
    """Build the bundle that provinces review; signatures under an earlier one are forgotten."""
    from fedmed.errors import ConfigError
    from fedmed_server.coordinator import prepare
    from fedmed_server.home import Home
    from fedmed_server.reviews import build_bundle

    place = Home(home.absolute())
    prepare(place)
    data = build_bundle(place)
    try:
        out.write_bytes(data)
    except OSError as fault:
        raise ConfigError(f"cannot write {out}: {fault.strerror}; name another file") from None
    digest = hashlib.sha256(data).hexdigest()
    typer.echo(json.dumps({"bundle": str(out), "sha256": digest}) if as_json else f"{digest}  {out}")
    typer.echo(
        f"next: send {out} to the provinces; add their reviews with fedmed server bundle review", err=True
    )


@bundle_app.command(
    "review", epilog="Example: fedmed server bundle review /var/lib/fedmed-server shanghai.json"
)
def review(
    home: HomeFolder,
    file: Annotated[Path, typer.Argument(metavar="REVIEW.json", help="What a province signed.")],
    as_json: AsJson = False,
) -> None:
    """Keep a province's signature under the bundle; from the next start on, runs are of that bundle."""
    from fedmed_server.files import read_text
    from fedmed_server.home import Home
    from fedmed_server.reviews import add_review

    kept = add_review(Home(home.absolute()), read_text(file))
    typer.echo(json.dumps({"reviewer": kept.reviewer}) if as_json else f"kept the review of {kept.reviewer}")
    typer.echo("next: stop and start the coordinator (fedmed server stop, up)", err=True)


@bundle_app.command("list", epilog="Example: fedmed server bundle list /var/lib/fedmed-server")
def listed(home: HomeFolder, as_json: AsJson = False) -> None:
    """Say who has signed the present bundle."""
    from fedmed_server.home import Home
    from fedmed_server.reviews import reviews

    names = [found.reviewer for found in reviews(Home(home.absolute()))]
    if as_json:
        typer.echo(json.dumps({"reviewers": names}, ensure_ascii=False))
    else:
        typer.echo("\n".join(names) or "nobody: runs are of the unsigned bundle")
