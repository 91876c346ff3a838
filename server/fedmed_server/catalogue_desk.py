"""``fedmed server catalogue``: the catalogues that provinces handed in, checked against the roster."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from fedmed.catalogue.document import LONGEST_BYTES, NodeCatalogue, catalogue_document, open_catalogue
from fedmed.catalogue.federation import differences
from fedmed.crypto.identity import PublicIdentity
from fedmed.errors import ConfigError
from fedmed.messages import Roster

ENDING: Final = ".catalogue.json"
"""A node's file is its name and this."""


def read_catalogues(folder: Path, roster: Roster) -> tuple[tuple[NodeCatalogue, ...], tuple[str, ...]]:
    """Read what the provinces of a roster handed in.

    Args:
        folder: Holds ``NODE.catalogue.json``; other files in it are left alone.
        roster: Whose keys must have signed.

    Returns:
        The catalogues in roster order, and the nodes that have none.

    Raises:
        ConfigError: no file is there, or one cannot be read.
        MessageMalformed, UnknownVersion, SignatureInvalid: a file is not what its node signed.
    """
    found, missing = [], []
    for member in roster.members:
        path = folder / f"{member.name}{ENDING}"
        if not path.is_file():
            missing.append(member.name)
            continue
        public = PublicIdentity(
            name=member.name, signing_key=member.signing_key, sealing_key=member.sealing_key
        )
        found.append(open_catalogue(_text(path), public))
    if not found:
        raise ConfigError(
            f"{folder}: no catalogue there; each province runs fedmed node catalogue HOME --out "
            f"NODE{ENDING} and hands the file in"
        )
    return tuple(found), tuple(missing)


def federation_document(catalogues: tuple[NodeCatalogue, ...], missing: tuple[str, ...]) -> dict[str, Any]:
    """All catalogues and their differences, for programs; `Any`: a JSON document."""
    return {
        "format": "fedmed/federation-catalogue/1",
        "nodes": [catalogue_document(one) for one in catalogues],
        "missing": list(missing),
        "differences": [
            {"what": one.what, "by_node": dict(one.by_node), "matters": one.matters}
            for one in differences(catalogues)
        ],
    }


def _text(path: Path) -> str:
    """A catalogue file; raises `ConfigError`."""
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST_BYTES + 1)
        if len(data) > LONGEST_BYTES:
            raise ConfigError(f"{path} is longer than {LONGEST_BYTES} bytes; ask the province for it again")
        return data.decode()
    except (OSError, UnicodeDecodeError):
        raise ConfigError(f"cannot read {path}; ask the province for it again") from None
