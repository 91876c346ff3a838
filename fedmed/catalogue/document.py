"""A node's catalogue as values and as a signed file. Nothing in it is made from a row, but scores and bands.

Sizes are bands, and persons the number that the province declares to everybody; samples are drawn from the
public schema alone, the same at every node.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from fedmed.crypto.identity import Identity, PublicIdentity, signed_bytes, verify
from fedmed.errors import MessageMalformed, UnknownVersion

FORMAT: Final = "fedmed/catalogue/2"
_READABLE: Final = frozenset({FORMAT, "fedmed/catalogue/1"})  # the first says neither refusal nor own_rules
LONGEST_BYTES: Final = 4 << 20
"""Bytes of a catalogue file."""
SMALLEST_BAND: Final = 1_000
"""Fewer rows than this are one band."""
_SIGNED_AS: Final = "catalogue"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueColumn:
    """One column.

    Attributes:
        name: As studies name it.
        zh: Chinese label; may be empty.
        en: English label; may be empty.
        kind: What it holds, in a few words.
        grade: Its grade; empty = none.
        refusal: Why the policy lets no study compute on it; empty = it may.
        sample: Made-up values, from the public schema alone.
    """

    name: str
    zh: str = ""
    en: str = ""
    kind: str = ""
    grade: str = ""
    refusal: str = ""
    sample: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogueDataset:
    """One dataset that studies can name.

    Attributes:
        name: Of the dataset.
        declared_persons: Insured persons, as declared publicly.
        data_year: Year that its rows describe.
        person: Column with the pseudonym, by which rows are grouped.
        is_registered: Whether its rows were read and written down.
        feature_set: ``name@digest`` of the set that derives it; empty = none.
        quality: Score by dimension; empty = not checked.
        columns: In order.
        tables: Table that it was made from -> band of its number of rows.
        refusal: Why the policy lets no study read any of it, beginning with the rule; empty = it may.
        own_rules: Whether the scores are by quality settings of the province's own.
    """

    name: str
    declared_persons: int
    data_year: int
    person: str
    is_registered: bool
    feature_set: str
    quality: Mapping[str, float]
    columns: tuple[CatalogueColumn, ...]
    tables: Mapping[str, str]
    refusal: str = ""
    own_rules: bool = False

    @property
    def is_served(self) -> bool:
        """Whether the node answers studies on it."""
        return self.is_registered and not self.refusal

    @property
    def may_be_asked(self) -> tuple[str, ...]:
        """Columns that the policy lets studies compute on; none of a dataset that it refuses whole."""
        if self.refusal:
            return ()
        return tuple(c.name for c in self.columns if not c.refusal and c.name != self.person)


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeCatalogue:
    """What one node publishes.

    Attributes:
        node: Its name in the roster.
        made_on: Day, ISO 8601.
        fedmed: Version of the program.
        schema_version: Version of the insurance tables' schema.
        rules: What the policy allows, name -> words; the same names at every node.
        datasets: In the order of the node's settings.
    """

    node: str
    made_on: str
    fedmed: str
    schema_version: str
    rules: Mapping[str, tuple[str, ...]]
    datasets: tuple[CatalogueDataset, ...]


def size_band(rows: int) -> str:
    """A number of rows as a band, so that no small number and no change by a few rows shows.

    Returns:
        ``under 1,000``, or bounds of 1, 2, 5 times a power of ten such as ``20,000 to 50,000``.
    """
    if rows < SMALLEST_BAND:
        return f"under {SMALLEST_BAND:,}"
    power = 10 ** (len(str(rows)) - 1)
    low = max(step for step in (1, 2, 5) if step * power <= rows) * power
    high = next(step for step in (2, 5, 10) if step * power > low) * power
    return f"{low:,} to {high:,}"


def catalogue_document(catalogue: NodeCatalogue) -> dict[str, Any]:
    """The catalogue as a JSON document; `Any`: its values are mixed."""
    return {"format": FORMAT, **asdict(catalogue)}


def signed_catalogue(catalogue: NodeCatalogue, identity: Identity) -> str:
    """A catalogue as a file: its text as it was signed, and the signature.

    Args:
        catalogue: Of the node whose keys these are.
        identity: The node's private keys.
    """
    content = json.dumps(catalogue_document(catalogue), ensure_ascii=False)
    signature = identity.sign(signed_bytes(_SIGNED_AS, content.encode()))
    return json.dumps({"content": content, "signature": signature.hex()}, ensure_ascii=False, indent=1) + "\n"


def open_catalogue(text: str, public: PublicIdentity) -> NodeCatalogue:
    """Read a signed catalogue.

    Args:
        text: What `signed_catalogue` gave.
        public: The node's keys, of the roster.

    Raises:
        MessageMalformed: it is no such file, or another node's.
        UnknownVersion: its format is of another version.
        SignatureInvalid: the node did not sign exactly this.

    Guarantees:
        Nothing of the content is looked at before the signature held.
    """
    try:
        document = json.loads(text)
        content, signature = str(document["content"]), bytes.fromhex(document["signature"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise _malformed(public.name) from None
    verify(public, signed_bytes(_SIGNED_AS, content.encode()), signature)
    try:
        found = _read(json.loads(content))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise _malformed(public.name) from None
    if found.node != public.name:
        raise _malformed(public.name)
    return found


def _malformed(node: str) -> MessageMalformed:
    """For a file that is not what `signed_catalogue` wrote."""
    return MessageMalformed(f"{node}: this is no catalogue of its; make one with fedmed node catalogue --out")


def _read(document: dict[str, Any]) -> NodeCatalogue:
    """The value of a document; `Any`: JSON."""
    values = dict(document)
    if values.pop("format") not in _READABLE:
        raise UnknownVersion(f"the catalogue is not of format {FORMAT}; update FedMed here or at the node")
    values["datasets"] = tuple(_dataset(entry) for entry in values["datasets"])
    values["rules"] = {str(name): tuple(map(str, words)) for name, words in values["rules"].items()}
    return NodeCatalogue(**values)


def _dataset(entry: dict[str, Any]) -> CatalogueDataset:
    """One dataset; `Any`: JSON."""
    columns = (CatalogueColumn(**{**one, "sample": tuple(one["sample"])}) for one in entry["columns"])
    found = CatalogueDataset(**{**entry, "columns": tuple(columns)})
    int(found.declared_persons), int(found.data_year), {k: float(v) for k, v in found.quality.items()}
    return found
