"""``fedmed verify``: reads a release from a folder or a ZIP file and shows what of it holds."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click
from rich.console import Console

from fedmed.cli.edge import DONE, remedy_for
from fedmed.errors import ConfigError, FedMedError, ReleaseBroken
from fedmed.types import DIGEST_BYTES

if TYPE_CHECKING:
    from fedmed.release.found import Verified

# A study of 400 nodes, 40 aggregations and a large model stays below; a ZIP bomb does not.
MOST_BYTES: Final = 4 << 30
MOST_FILES: Final = 64


def verify_and_show(place: Path, *, roster: str | None, as_json: bool) -> int:
    """Verify a release and show each thing that holds.

    Args:
        place: Folder or ZIP file.
        roster: Digest of the roster that the reader trusts, 64 hexadecimal digits; None assumes the bundle's.
        as_json: Print one JSON document instead of a table.

    Returns:
        The exit code: 0, or with ``as_json`` that of what does not hold.

    Raises:
        ConfigError: there is no bundle, or the digest is none.
        ReleaseBroken: the first thing that does not hold; what held before it is shown.
    """
    trusted = None if roster is None else read_digest(roster)
    files = read_files(place)
    from fedmed.release.verify import verify

    held: list[Verified] = []
    fault: FedMedError | None = None
    try:
        held.extend(verify(files, roster_digest=trusted))
    except FedMedError as found:
        fault = found
    if as_json:
        click.echo(_document(held, fault, assumed=trusted is None))
        return DONE if fault is None else fault.exit_code
    _show(held)
    if fault is not None:
        raise fault
    click.echo(_verdict(held, assumed=trusted is None))
    return DONE


def read_digest(text: str) -> bytes:
    """A roster's digest as people write it; raises `ConfigError`."""
    try:
        found = bytes.fromhex(text.strip())
    except ValueError:
        found = b""
    if len(found) != DIGEST_BYTES:
        raise ConfigError(f"--roster must be the roster's digest, {2 * DIGEST_BYTES} hexadecimal digits")
    return found


def read_files(place: Path) -> dict[str, bytes]:
    """All files of a bundle by name.

    Raises:
        ConfigError: there is nothing to read.
        ReleaseBroken: it is larger than any release, or the ZIP file is damaged.
    """
    try:
        return _from_folder(place) if place.is_dir() else _from_zip(place)
    except OSError as fault:
        raise ConfigError(
            f"cannot read {place}: {fault.strerror}; give the folder or the ZIP file of fedmed server export"
        ) from None


def _from_folder(place: Path) -> dict[str, bytes]:
    """The files of a folder."""
    paths = sorted(place.iterdir())
    _require_small([p.stat().st_size for p in paths])
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def _from_zip(place: Path) -> dict[str, bytes]:
    """The files of a ZIP archive; no name in it ever becomes a path."""
    if not place.exists() or not zipfile.is_zipfile(place):
        raise ConfigError(f"{place} is neither a folder nor a ZIP file; give what fedmed server export wrote")
    try:
        with zipfile.ZipFile(place) as archive:
            entries = archive.infolist()
            _require_small([e.file_size for e in entries])
            if len({e.filename for e in entries}) != len(entries):
                raise ReleaseBroken("the ZIP file holds two files of one name")
            return {e.filename: archive.read(e) for e in entries}
    except (zipfile.BadZipFile, EOFError, NotImplementedError, RuntimeError, ValueError) as fault:
        raise ReleaseBroken(f"the ZIP file is damaged: {type(fault).__name__}") from None


def _require_small(sizes: list[int]) -> None:
    """Refuse what no release can be before it is read."""
    if len(sizes) > MOST_FILES or sum(sizes) > MOST_BYTES:
        raise ReleaseBroken(f"a release has at most {MOST_FILES} files and {MOST_BYTES >> 30} GiB")


def _show(held: list[Verified]) -> None:
    """A table of what holds."""
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(
        Column("Verified", no_wrap=True), Column("What was found", overflow="fold"), box=box.SIMPLE_HEAD
    )
    for one in held:
        rests = f"\nON THE COORDINATOR'S WORD: {one.rests}" if one.rests else ""
        table.add_row(Text(one.name), Text(one.detail + rests))
    if held:
        Console().print(table)


def _verdict(held: list[Verified], *, assumed: bool) -> str:
    """The last lines."""
    rests = "; ".join(one.rests for one in held if one.rests)
    word = f" Not proved, and on the coordinator's word: {rests}." if rests else ""
    return _held(assumed=assumed) + word


def _held(*, assumed: bool) -> str:
    """What was shown, as far as it does not rest on the coordinator's word."""
    if assumed:
        return (
            "The files fit together. WHO made them is open: compare the roster's digest above with the one "
            "that a province pinned, or run again with --roster DIGEST."
        )
    return "This release holds, under the roster that you trust."


def _document(held: list[Verified], fault: FedMedError | None, *, assumed: bool) -> str:
    """The same as one JSON document."""
    document: Mapping[str, object] = {
        "holds": fault is None,
        "roster_assumed": assumed,
        "verified": [{"name": one.name, "detail": one.detail} for one in held],
        "on_the_coordinators_word": [one.rests for one in held if one.rests],
    }
    if fault is not None:
        error = {"code": fault.code, "cause": str(fault), "remedy": remedy_for(fault)}
        document = {**document, "error": error}
    return json.dumps(document, ensure_ascii=False, indent=2)
