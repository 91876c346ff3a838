"""Reads TOML into a model, and words for its faults; pydantic's own texts speak of its internals."""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from fedmed.errors import ConfigError

Settings = TypeVar("Settings", bound=BaseModel)

_EXPECTED = {
    "int": "a whole number",
    "float": "a number",
    "string": "text in quotes",
    "bool": "true or false",
    "date": "a date as 2027-12-31",
    "tuple": "a list",
    "model": "a table",
    "mapping": "a table",
    "dict": "a table",
}
_BOUNDS = {
    "greater_than": (">", "gt"),
    "greater_than_equal": (">=", "ge"),
    "less_than": ("<", "lt"),
    "less_than_equal": ("<=", "le"),
}


def parse_settings(text: str, model: type[Settings], *, path: Path) -> Settings:
    """Read a settings file's TOML into its model.

    Args:
        text: What the file holds.
        model: What it must be.
        path: Of the file, for messages.

    Raises:
        ConfigError: all faults in one error, a line each; an unknown key names the nearest right one.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as fault:
        raise ConfigError(f"{path} is not TOML: {fault}") from None
    try:
        # By way of JSON, where strict types, arrays and the values of enums go together.
        return model.model_validate_json(json.dumps(document, default=str))
    except ValidationError as fault:
        lines = readable_faults(fault.errors(include_url=False), model)
        raise ConfigError("\n  ".join((f"{path} has {len(lines)} fault(s):", *lines))) from None


def readable_faults(faults: Iterable[Mapping[str, Any]], model: type[BaseModel]) -> tuple[str, ...]:
    """Say each fault in one line: where it is, what is expected, what was found.

    Args:
        faults: ``ValidationError.errors()`` (`Any`: pydantic types its details so).
        model: The model that was checked; its keys are offered for unknown ones.

    Returns:
        One line a fault, in the order of the file's sections.
    """
    return tuple(_line(fault, model) for fault in faults)


def nearest(wrong: str, right: Sequence[str]) -> str | None:
    """The name in ``right`` that is most like ``wrong``; None where none is like it."""
    return next(iter(difflib.get_close_matches(wrong, right, n=1, cutoff=0.5)), None)


def _line(fault: Mapping[str, Any], model: type[BaseModel]) -> str:
    """Where and what, for one fault."""
    where = _place(fault["loc"])
    if fault["type"] == "extra_forbidden":
        return f"{where}: unknown key; {_offer(fault['loc'], model)}"
    if fault["type"] == "missing":
        return f"{where}: is missing"
    if fault["type"] == "value_error":
        text = str(fault["ctx"]["error"])
        return f"{where}: {text}" if where else text
    return f"{where}: must be {_expectation(fault)}, got {_found(fault['input'])}"


def _place(location: Sequence[str | int]) -> str:
    """``data.features[2].low`` for ("data", "features", 1, "low"): entries are counted from one."""
    text = ""
    for part in location:
        if isinstance(part, int):
            text += f"[{part + 1}]"
        elif part != "[key]":
            text += f".{part}" if text else part
    return text


def _offer(location: Sequence[str | int], model: type[BaseModel]) -> str:
    """The nearest right key, or all of them."""
    current = model
    for part in location[:-1]:
        if isinstance(part, str):
            current = _model_in(current.model_fields[part].annotation) or current
    names = [field.alias or name for name, field in current.model_fields.items()]
    best = nearest(str(location[-1]), names)
    return f"did you mean {best}?" if best else f"the keys here are {', '.join(names)}"


def _model_in(annotation: Any) -> type[BaseModel] | None:
    """The model inside an annotation such as ``tuple[FeatureTable, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for arg in get_args(annotation) if (found := _model_in(arg))), None)


def _expectation(fault: Mapping[str, Any]) -> str:
    """What would have been right."""
    kind, details = fault["type"], fault.get("ctx", {})
    if kind in _BOUNDS:
        sign, key = _BOUNDS[kind]
        return f"{sign} {details[key]}"
    if kind in ("literal_error", "enum"):
        return f"one of {details['expected']}"
    if kind == "finite_number":
        return "finite"
    if kind == "string_pattern_mismatch":
        return _pattern_in_words(details["pattern"])
    if kind == "too_short":
        return f"at least {details['min_length']} long"
    return _EXPECTED.get(kind.split("_")[0], "as the study file's description says")


def _pattern_in_words(pattern: str) -> str:
    """Words for the three patterns that the study file uses."""
    if "a-z0-9" in pattern:
        return "1 to 64 of a-z, 0-9, - and _, the first a letter or digit"
    if "1[0-2]" in pattern:
        return "a month as 2026-07"
    return "one line of 1 to 200 characters"


def _found(value: object) -> str:
    """A short picture of what stands in the file; study files are public."""
    if isinstance(value, Enum):
        value = value.value
    text = f"{value!r}"
    return text if len(text) <= 60 else f"{text[:57]}..."
