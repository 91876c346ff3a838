"""``fedmed node review``: sign an app bundle after looking into it.

`fedmed_nodes.cli` takes this command in; it loads what it needs when it runs.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from fedmed_nodes.operator_commands import DECLINED

app = typer.Typer()

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]


@app.command(epilog="Example: fedmed node review study.fab --key li.wei.key --out shanghai.json")
def review(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE.fab", help="What the coordinator sent.")],
    key: Annotated[Path, typer.Option(metavar="FILE", help="The reviewer's key: node operator-key made it.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Gets the review, for the coordinator.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show what an app bundle holds, ask, and sign it; print the line for the node's trusted file."""
    from fedmed.crypto.bundle_review import review_bundle, review_text, trusted_line
    from fedmed.errors import ConfigError
    from fedmed_nodes.bundle_review import look_into
    from fedmed_nodes.operator_key import read_operator_key

    try:
        data = bundle.read_bytes()
    except OSError as fault:
        raise ConfigError(f"cannot read {bundle}: {fault.strerror}; name another file") from None
    reviewer = read_operator_key(key)
    content = look_into(data)
    typer.echo(f"{content.settings}\nfiles: {', '.join(content.names)}; no code", err=True)
    if not yes and not typer.confirm("Sign this bundle?", err=True):
        typer.echo("not signed; nothing was written", err=True)
        raise typer.Exit(DECLINED)
    signed = review_bundle(reviewer, data, signed_at=int(time.time()))
    try:
        out.write_text(review_text(signed), encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"cannot write {out}: {fault.strerror}; name another file") from None
    line = trusted_line(reviewer.name, reviewer.public.signing_key)
    typer.echo(json.dumps({"review": str(out), "trusted": line}, ensure_ascii=False) if as_json else line)
    typer.echo(
        f"wrote {out} for the coordinator\nnext: put the line above into a file, and name that file as "
        "trusted in courier.toml",
        err=True,
    )
