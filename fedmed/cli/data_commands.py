"""``fedmed data``: tables on disk, made up or checked."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from fedmed.errors import DataContractError

data_app = typer.Typer(help="Make, describe and check tables.", no_args_is_help=True)


@data_app.callback()
def data() -> None:
    """Make, describe and check tables."""


class GeneratedTables(Enum):
    """What ``fedmed data generate`` writes."""

    PERSON_YEAR = "person_year"
    CLAIMS = "claims"


@data_app.command("generate", epilog="Example: fedmed data generate --tables claims --people 20000 provinces")
def generate(
    path: Annotated[Path, typer.Argument(metavar="OUT", help="File, or folder of claims; must not exist.")],
    tables: Annotated[
        GeneratedTables,
        typer.Option(help="One file of a row a person, or all claims in a folder a province."),
    ] = GeneratedTables.PERSON_YEAR,
    people: Annotated[int, typer.Option(help="Insured persons in all provinces together.")] = 80_000,
    seed: Annotated[int, typer.Option(min=0, help="Equal seeds give equal rows.")] = 1,
    province: Annotated[
        list[str] | None, typer.Option(help="Claims: only this province; repeatable. Default: all four.")
    ] = None,
    years: Annotated[int, typer.Option(help="Claims: years from 2023 on, 1 to 5.")] = 3,
    fraud: Annotated[bool, typer.Option(help="Claims: commit fraud and label it.")] = True,
    fault: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Claims: spoil rows as a rule of data check names it; repeatable."),
    ] = None,
    rate: Annotated[float, typer.Option(help="Claims: chance of each row that a fault fits.")] = 0.01,
    as_json: Annotated[bool, typer.Option("--json", help="Claims: print one JSON document.")] = False,
) -> None:
    """Write synthetic provinces: person_year rows with a column site, or their insurance claims."""
    if tables is GeneratedTables.CLAIMS:
        from fedmed.cli.generating import generate_and_show
        from fedmed.data.claims.generate import ClaimsSettings

        chosen = {"provinces": tuple(province)} if province else {}
        settings = ClaimsSettings(people=people, seed=seed, years=years, fraud=fraud, **chosen)
        generate_and_show(path, settings, faults=tuple(fault or ()), rate=rate, as_json=as_json)
        return
    from fedmed.cli.parquet_file import write_provinces

    rows = write_provinces(path, people=people, seed=seed)
    typer.echo(f"wrote {rows:,} persons to {path}")
    typer.echo(f"next: fedmed study run STUDY --data {path}, with the study of fedmed study new")


@data_app.command("check", epilog="Example: fedmed data check /srv/claims --html quality.html")
def check(
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Holds setl.parquet, fee_list/..., as CSV or Parquet.")
    ],
    settings: Annotated[
        Path | None, typer.Option(help="Tolerances, regional codes, rules off (TOML).")
    ] = None,
    gate: Annotated[
        float | None, typer.Option(help="Least score, in [0, 1]. Default: 0.95.", min=0, max=1)
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page as well.")] = None,
    memory: Annotated[int, typer.Option(help="Bound of the memory for rows, MiB.")] = 1024,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Threads that read.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Check a province's insurance tables: counts, rates and scores, never a row.

    Ends with code 7 where a score is below the gate.
    """
    from fedmed.cli.data_check import CheckOptions, check_and_show

    options = CheckOptions(
        settings=settings, gate=gate, page=html, as_json=as_json, memory_mib=memory, threads=threads
    )
    if not check_and_show(folder, options):
        raise typer.Exit(DataContractError.exit_code)


@data_app.command("schema", epilog="Example: fedmed data schema setl")
def schema(
    table: Annotated[str | None, typer.Argument(metavar="TABLE", help="Show this table's columns.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page instead.")] = None,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules of fedmed data check.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON Schema on stdout.")] = False,
) -> None:
    """Describe the insurance tables that FedMed reads: columns, types, grades, codes."""
    from fedmed.data.nhsa.schema import schema as tables

    if as_json:
        import json

        from fedmed.data.nhsa.json_schema import json_schema

        typer.echo(json.dumps(json_schema(tables()), ensure_ascii=False))
        return
    if html is not None:
        from fedmed.cli.data_check import write_page
        from fedmed.cli.schema_page import schema_sheet
        from fedmed.report.sheet import render_sheet

        write_page(html, render_sheet(schema_sheet(tables())))
        typer.echo(f"page: {html}", err=True)
        return
    from rich.console import Console

    from fedmed.cli.data_schema import columns_text, rules_text, tables_text

    if rules:
        shown = rules_text()
    else:
        shown = tables_text(tables()) if table is None else columns_text(tables(), table)
    Console(highlight=False).print(*shown, sep="\n")


@data_app.command(
    "features",
    epilog="Example: fedmed data features claims --region 310000 --year 2024 --out person_year.parquet",
)
def features(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="FOLDER", help="Claims of a province, or a folder with a folder a province."),
    ] = None,
    year: Annotated[int | None, typer.Option(help="Year of the features; outcomes are of the next.")] = None,
    region: Annotated[
        list[str] | None,
        typer.Option(metavar="REGION|NAME=REGION", help="Whose persons: 310000, or shanghai=310000."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Parquet file to write.")] = None,
    study: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a study of it as well.")] = None,
    label: Annotated[str, typer.Option(help="Its outcome.")] = "next_cost>=20000",
    definitions: Annotated[
        Path | None, typer.Option("--set", metavar="FILE", help="Another feature set. Default: person_year.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page of the set.")] = None,
    memory: Annotated[int, typer.Option(min=64, max=1 << 20, help="Bound of the memory, MiB.")] = 2048,
    threads: Annotated[int, typer.Option(min=1, max=256, help="Threads that read.")] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Make a row a person and year from claims, or show the feature set that does it.

    A node derives the same rows itself when a study asks (features and regions in node.toml): the file is
    for looking at, for a simulation, and for checking.
    """
    from fedmed.cli.features import FeatureOptions, features_and_show

    options = FeatureOptions(
        year=year,
        regions=tuple(region or ()),
        out=out,
        study=study,
        label=label,
        definitions=definitions,
        page=html,
        as_json=as_json,
        memory_mib=memory,
        threads=threads,
    )
    features_and_show(folder, options)


@data_app.command("import-omop", epilog="Example: fedmed data import-omop omop --out claims --region 310000")
def import_omop(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="OMOP CDM 5.4: person.csv, ...")],
    out: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder to make.")],
    region: Annotated[str, typer.Option(help="Six digits: where the persons are insured and treated.")],
    insutype: Annotated[str, typer.Option(help="Their scheme.")] = "390",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
) -> None:
    """Write the insurance tables that OMOP tables give, and say what is lost on the way."""
    import json

    from fedmed.cli.import_omop import import_omop as write
    from fedmed.data.nhsa.omop import LOSSES, OmopImport

    rows = write(folder, out, OmopImport(region=region, insutype=insutype))
    if as_json:
        typer.echo(json.dumps({"folder": str(out), "rows": rows, "losses": LOSSES}))
        return
    for name, count in rows.items():
        typer.echo(f"{name}: {count} rows")
    typer.echo("What OMOP does not hold:")
    for loss in LOSSES:
        typer.echo(f"- {loss}")
    typer.echo(f"next: fedmed data check {out}")
