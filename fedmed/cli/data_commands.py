"""``fedmed data``: synthetic provinces on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

data_app = typer.Typer(help="Make tables to try FedMed with.", no_args_is_help=True)


@data_app.callback()
def data() -> None:
    """Make tables to try FedMed with."""


@data_app.command("generate", epilog="Example: fedmed data generate --people 100000 provinces.parquet")
def generate(
    path: Annotated[Path, typer.Argument(metavar="OUT.parquet", help="File to write; must not exist yet.")],
    people: Annotated[int, typer.Option(help="Insured persons in all, 500 to 5,000,000.")] = 80_000,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal rows.")] = 1,
) -> None:
    """Write person_year rows of four synthetic provinces, with a column ``site`` that names them."""
    from fedmed.cli.parquet_file import write_provinces

    rows = write_provinces(path, people=people, seed=seed)
    typer.echo(f"wrote {rows:,} persons to {path}")
    typer.echo(f"next: fedmed study run STUDY --data {path}, with the study of fedmed study new")
