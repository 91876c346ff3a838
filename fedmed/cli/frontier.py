"""The command ``fedmed frontier``; it loads what it needs when it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

if TYPE_CHECKING:
    from fedmed.frontier.grid import Grid
    from fedmed.study import TrainingStudy

EPILOG = "Example: fedmed frontier my.toml --data claims.csv --epsilons .25,.5,1,2,4 --budget 2"
T = TypeVar("T")
D = TypeVar("D")


def frontier(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="A study file (TOML) that trains a model.")],
    data: Annotated[
        Path | None, typer.Option("--data", metavar="FILE", help="CSV or Parquet with the rows of all sites.")
    ] = None,
    site_column: Annotated[
        str, typer.Option(metavar="COL", help="Column of FILE that names the site.")
    ] = "site",
    epsilons: Annotated[
        str, typer.Option(metavar="LIST", help="Epsilons; '' = the study's.")
    ] = ".25,.5,1,2,4",
    modes: Annotated[str, typer.Option(metavar="LIST", help="Modes. Default: all that train a model.")] = "",
    schemes: Annotated[str, typer.Option(metavar="LIST", help="Secure sums. Default: the study's.")] = "",
    nodes: Annotated[
        str, typer.Option(metavar="LIST", help="Numbers of provinces. Default: the study's.")
    ] = "",
    people: Annotated[
        str, typer.Option(metavar="LIST", help="Insured persons in all. Default: the study's.")
    ] = "",
    clips: Annotated[str, typer.Option(metavar="LIST", help="Clip norms. Default: the study's.")] = "",
    aggregations: Annotated[
        str,
        typer.Option(metavar="LIST", help="Training rounds. Default: the study's; in other modes theirs."),
    ] = "",
    seeds: Annotated[int, typer.Option(min=1, max=1000, help="Runs of everything, with seeds 1 to N.")] = 3,
    budget: Annotated[float, typer.Option(help="Epsilon that a person may lose in a year.")] = 2.0,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at the same time.")] = 2,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for everything. Default: runs/frontier-STUDY."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh/--resume", help="Forget what an earlier frontier in FOLDER finished.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")
    ] = False,
) -> None:
    """Show what each epsilon, mode and secure sum buys and costs, by simulation, before anything is spent."""
    from rich.console import Console

    from fedmed.cli.frontier_data import rows_for
    from fedmed.cli.frontier_run import FrontierOptions, run_frontier
    from fedmed.cli.frontier_view import show_frontier
    from fedmed.cli.runs import quiet_stdout
    from fedmed.cli.study_text import read_study_text
    from fedmed.study import as_training, load_study

    texts = {
        "epsilons": epsilons, "modes": modes, "schemes": schemes, "nodes": nodes, "people": people,
        "clips": clips, "aggregations": aggregations,
    }  # fmt: skip
    with quiet_stdout(as_json):
        spec = as_training(load_study(read_study_text(study)))
        grid = read_grid(spec, texts, seeds=seeds)
        options = FrontierOptions(
            folder=out or Path("runs") / f"frontier-{spec.id}",
            jobs=jobs,
            budget=_budget(budget),
            is_fresh=fresh,
        )
        rows = rows_for(spec, data=data, site_column=site_column)
        found = run_frontier(spec, rows, grid, options=options, console=Console(stderr=True))
    show_frontier(found, options.folder, as_json=as_json)


def read_grid(spec: TrainingStudy, texts: Mapping[str, str], *, seeds: int) -> Grid:
    """The grid that options name; what they leave open is the study's own.

    Args:
        spec: The study.
        texts: The lists as given, by name; empty = not given.
        seeds: Seeds 1 to this.

    Raises:
        ConfigError: a list cannot be read or holds what no study can have.
    """
    from fedmed.frontier.grid import MODES, Grid
    from fedmed.types import Mode, Scheme

    own_people = sum(spec.data.declared_persons.values())
    return Grid(
        epsilons=_values("epsilons", texts["epsilons"], float, default=(spec.privacy.epsilon,)),
        modes=_values("modes", texts["modes"], Mode, default=MODES, expected=_names(MODES)),
        schemes=_values(
            "schemes", texts["schemes"], Scheme, default=(spec.aggregation.scheme,), expected=_names(Scheme)
        ),
        nodes=_values("nodes", texts["nodes"], int, default=(len(spec.nodes),)),
        people=_values("people", texts["people"], int, default=(own_people,)),
        clips=_values("clips", texts["clips"], float, default=(spec.privacy.clip_norm,)),
        aggregations=_values("aggregations", texts["aggregations"], int, default=(None,)),
        seeds=tuple(range(1, seeds + 1)),
    )


def _values(
    name: str, text: str, read: Callable[[str], T], *, default: Iterable[D], expected: str = "a number"
) -> tuple[T | D, ...]:
    """A list of an option, each value once, in order of first mention."""
    from fedmed.errors import ConfigError

    if not text.strip():
        return tuple(default)
    found: dict[T | D, None] = {}
    for part in text.split(","):
        try:
            found[read(part.strip())] = None
        except ValueError:
            raise ConfigError(
                f"--{name}: {part.strip()!r} is not {expected}; write a list as a,b,c"
            ) from None
    return tuple(found)


def _names(members: Iterable[Enum]) -> str:
    """What may be written for an enum."""
    return f"one of {', '.join(member.value for member in members)}"


def _budget(value: float) -> float:
    """A budget that can be composed up to."""
    from fedmed.errors import ConfigError

    if not 0 < value <= 1000:
        raise ConfigError(f"--budget must be in (0, 1000], got {value:g}")
    return value
