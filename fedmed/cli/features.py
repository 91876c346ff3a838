"""What ``fedmed data features`` does: show a feature set, derive by it, write rows and a study file."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq

from fedmed.cli.data_check import write_page
from fedmed.cli.features_page import features_document, features_sheet, features_text
from fedmed.cli.new_study import DAYS
from fedmed.cli.parquet_file import SITE
from fedmed.cli.study_file import derived_text, parse_label
from fedmed.data.feature_sets.compile import Derivation
from fedmed.data.feature_sets.definition import FeatureSet, packaged_feature_set, parse_feature_set
from fedmed.data.feature_sets.derive import open_derived, stating
from fedmed.data.nhsa.folder import find_named
from fedmed.data.nhsa.results import shown_count
from fedmed.data.nhsa.schema import schema
from fedmed.data.provinces import REGIONS, known_regions
from fedmed.errors import ConfigError, DataContractError
from fedmed.report.sheet import render_sheet
from fedmed.study import load_study


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureOptions:
    """What the command was asked for.

    Attributes:
        year: Year t.
        regions: ``310000``, or ``name=310000`` where there are several provinces.
        out: Parquet file to write.
        study: Study file to write.
        label: Outcome of that study.
        definitions: File of the feature set; None = the packaged one.
        page: Page of the set; None = none.
        as_json: Whether stdout gets one JSON document.
        memory_mib: Bound of the engine's memory.
        threads: Its threads.
    """

    year: int | None = None
    regions: tuple[str, ...] = ()
    out: Path | None = None
    study: Path | None = None
    label: str = ""
    definitions: Path | None = None
    page: Path | None = None
    as_json: bool = False
    memory_mib: int = 2048
    threads: int = 2


def features_and_show(folder: Path | None, options: FeatureOptions) -> None:
    """Show the set, or derive from a folder and write what was asked for.

    Args:
        folder: Claims of one province, or a folder with a folder a province; None = show the set.
        options: What was asked for.

    Raises:
        ConfigError: an option is missing or wrong, or a file is there already or cannot be written.
        DataContractError, StoreFailed: as `open_derived`.
    """
    features = read_set(options.definitions)
    if options.page is not None:
        write_page(options.page, render_sheet(features_sheet(features)))
        click.echo(f"page: {options.page}", err=True)
    if folder is None:
        if options.year is not None or options.out is not None or options.study is not None:
            raise ConfigError("name the folder with the claims: fedmed data features FOLDER --year ...")
        shown = features_document(features)
        click.echo(json.dumps(shown, ensure_ascii=False) if options.as_json else features_text(features))
        return
    if options.year is None or options.out is None:
        raise ConfigError("--year and --out are missing: the year of the features, and the file to write")
    places = provinces(folder, options.regions)
    counts = write_rows(places, features, options)
    if options.study is not None:
        write_study(options.study, features, counts, label=options.label)
    _say(features, counts, options)


def read_set(path: Path | None) -> FeatureSet:
    """A feature set from a file, or the packaged one; raises `ConfigError`."""
    if path is None:
        return packaged_feature_set()
    try:
        return parse_feature_set(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"cannot read {path}; name a feature set's TOML file") from None


def provinces(folder: Path, regions: tuple[str, ...]) -> Mapping[str, tuple[Path, tuple[str, ...]]]:
    """Name -> folder and regions; the name is empty where the folder is one province's own.

    Args:
        folder: See `features_and_show`.
        regions: See `FeatureOptions`; made-up provinces need none.

    Raises:
        ConfigError: a province has no region, or a region no province.
    """
    named: dict[str, list[str]] = {}
    for text in regions:
        name, sign, region = text.partition("=")
        named.setdefault(name if sign else "", []).append(region if sign else name)
    if find_named(folder, schema().names):
        found = {"": (folder, tuple(named.get("", ())))}
    else:
        known = known_regions(folder)
        places = [place for place in sorted(folder.iterdir()) if place.is_dir()]
        inside = [place for place in places if find_named(place, schema().names)]
        found = {p.name: (p, tuple(named.get(p.name, known.get(p.name, ())))) for p in inside}
    if not found:
        raise DataContractError(f"{folder}: no claims there; expected setl.parquet, or a folder a province")
    missing = [name or str(folder) for name, (_, own) in found.items() if not own]
    if missing:
        raise ConfigError(
            f"--region is missing for {', '.join(missing)}: write --region 310000, or with several provinces "
            f"--region shanghai=310000 for each, or a file {REGIONS} beside them"
        )
    strange = sorted(set(named) - set(found))
    if strange:
        raise ConfigError(f"--region: no province {', '.join(map(repr, strange))} in {folder}")
    return found


def write_rows(
    places: Mapping[str, tuple[Path, tuple[str, ...]]], features: FeatureSet, options: FeatureOptions
) -> Mapping[str, int]:
    """Derive every province and write one Parquet file, with a column ``site`` where there are several.

    Returns:
        Name -> persons.

    Guarantees:
        The file appears only when it is complete.
    """
    path = options.out or Path()
    if path.exists():
        raise ConfigError(f"{path} exists; choose another name")
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    counts: dict[str, int] = {}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer: pq.ParquetWriter | None = None
        for name, (folder, regions) in places.items():
            derivation = Derivation(features=features, year=options.year or 0, regions=regions)
            with open_derived(
                folder, derivation, memory_mib=options.memory_mib, threads=options.threads
            ) as derived:
                counts[name] = derived.rows
                for chunk in derived.chunks(derived.columns):
                    rows = stating(_with_site(chunk, name), features.reference)
                    writer = writer or pq.ParquetWriter(partial, rows.schema)
                    writer.write_table(rows)
        if writer is not None:
            writer.close()
        partial.rename(path)
    except OSError as fault:
        raise ConfigError(f"cannot write {path}: {fault.strerror or fault}; choose another place") from None
    finally:
        partial.unlink(missing_ok=True)
    return counts


def write_study(path: Path, features: FeatureSet, counts: Mapping[str, int], *, label: str) -> None:
    """Write a study of the derived rows; raises `ConfigError` as `load_study`, or where the file is there."""
    if path.exists():
        raise ConfigError(f"{path} exists; choose another name")
    expires = datetime.datetime.now(tz=datetime.UTC).date() + datetime.timedelta(days=DAYS)
    text = derived_text(features, label=parse_label(label), declared=counts, expires=str(expires))
    load_study(text)
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"cannot write {path}: {fault.strerror}; choose another place") from None


def _with_site(chunk: pa.Table, name: str) -> pa.Table:
    """The rows with their province in front, where it has a name."""
    if not name:
        return chunk
    return chunk.add_column(0, SITE, pa.array([name] * chunk.num_rows, type=pa.string()))


def _say(features: FeatureSet, counts: Mapping[str, int], options: FeatureOptions) -> None:
    """Say what was written."""
    shown = {name: shown_count(count) for name, count in counts.items()}
    if options.as_json:
        document = {"file": str(options.out), "feature_set": features.reference, "persons": shown}
        click.echo(json.dumps(document | ({"study": str(options.study)} if options.study else {})))
        return
    click.echo("\n".join(_lines(features, shown, options)))


def _lines(features: FeatureSet, shown: Mapping[str, str], options: FeatureOptions) -> Iterator[str]:
    """What was written, for people."""
    for name, persons in shown.items():
        yield f"{name or 'province'}: {persons} persons insured at home in December {options.year} and beyond"
    yield f"wrote {options.out} by feature set {features.reference}"
    if options.study is not None:
        yield f"wrote {options.study}: read it, correct title and owner"
        yield f"next: fedmed study run {options.study} --data {options.out}"
