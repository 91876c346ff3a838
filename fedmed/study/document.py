"""A study as text and as bytes: TOML for people, one canonical form for digests."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from typing import Any

import tomli_w
from pydantic import ValidationError

from fedmed.errors import ConfigError
from fedmed.study.kinds import study_class
from fedmed.study.sections import StudySpec
from fedmed.study_faults import readable_faults
from fedmed.types import StudyKind, digest

FORMAT_VERSION = 1


def load_study(text: str) -> StudySpec:
    """Read a study file.

    Args:
        text: TOML, sections as in DESIGN.md section 6.

    Returns:
        The study, of the class of its kind, with every default that depends only on the file filled in.

    Raises:
        ConfigError: all faults of the file in one error, one line each; an unknown key names the nearest
            right one.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"the study file is not TOML: {fault}") from None
    return study_from_document(document)


def study_from_document(document: Mapping[str, object]) -> StudySpec:
    """Check a study given as nested tables, as `load_study` does; raises `ConfigError` likewise."""
    kind = study_class(document)
    filled = _with_defaults(document, kind)
    try:
        # By way of JSON, where strict types and ISO dates, arrays and names of enums go together.
        return kind.model_validate_json(json.dumps(filled, default=str))
    except ValidationError as fault:
        lines = readable_faults(fault.errors(include_url=False), kind)
        raise ConfigError("\n  ".join((f"the study file has {len(lines)} fault(s):", *lines))) from None


def to_toml(spec: StudySpec) -> str:
    """Write a study as TOML.

    Guarantees:
        ``load_study(to_toml(spec)) == spec``.
    """
    return tomli_w.dumps(_document(spec, keep_date=True))


def canonical_bytes(spec: StudySpec) -> bytes:
    """The one byte string that stands for a study: JSON, keys sorted, no whitespace, floats by ``repr``.

    The declared persons are a list of pairs, because their order is the roster's.
    """
    document = _document(spec, keep_date=False)
    document["data"]["declared_persons"] = [[k, v] for k, v in spec.data.declared_persons.items()]
    document["version"] = FORMAT_VERSION
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return text.encode()


def from_canonical_bytes(data: bytes) -> StudySpec:
    """Read canonical bytes back.

    Raises:
        ConfigError: the bytes are not JSON of this version, not a study, or not their own canonical form
            (a second spelling of one study would have a second digest).
    """
    try:
        document = json.loads(data)
        version = document.pop("version")
        document["data"]["declared_persons"] = dict(document["data"]["declared_persons"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ConfigError("these bytes are not a study in canonical form; send canonical_bytes") from None
    if version != FORMAT_VERSION:
        raise ConfigError(f"the study's format has version {version}, this program reads {FORMAT_VERSION}")
    spec = study_from_document(document)
    if canonical_bytes(spec) != data:
        raise ConfigError("the study's bytes are not in canonical form; send those of canonical_bytes")
    return spec


def study_digest(data: bytes) -> bytes:
    """Digest that provinces approve: 32 bytes over the canonical bytes of a study."""
    return digest("fedmed/study", data)


def _document(spec: StudySpec, *, keep_date: bool) -> dict[str, Any]:
    """Nested plain tables without the keys that are None; `Any` because TOML and JSON values are mixed."""
    document = spec.model_dump(mode="json", exclude_none=True)
    if spec.kind is StudyKind.TRAINING:
        del document["study"]["kind"]  # files older than other kinds keep their digests
    if spec.privacy.is_exact:
        del document["privacy"]["epsilon"], document["privacy"]["delta"]
    if keep_date:
        document["study"]["expires"] = spec.expires
    return document


def _with_defaults(document: Mapping[str, object], kind: type[StudySpec]) -> dict[str, object]:
    """Add missing optional sections, and the defaults that follow from the rest of the file."""
    filled = dict(document)
    for section, values in kind.defaults(document).items():
        # A section without a default of its own must be there: its absence is a fault of the file.
        given = filled.get(section, {} if section != "privacy" else None)
        if isinstance(given, Mapping):
            filled[section] = {**values, **given}
    return filled
