"""Writing a registration into the text of ``node.toml``: two or three keys of one table, nothing else."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from typing import Any, Final

from fedmed.errors import ConfigError

_DATASET: Final = re.compile(r"[ \t]*\[\[[ \t]*dataset[ \t]*\]\]")
_HEADER: Final = re.compile(r"[ \t]*\[")
_VALUE: Final = r"\[[^\]#]*\]|\{[^}\n]*\}|\"[^\"\n]*\"|'[^'\n]*'"


def with_registration(
    text: str,
    at: int,
    *,
    columns: Sequence[str],
    fingerprint: bytes,
    quality: Mapping[str, float] | None = None,
) -> str:
    """Write columns, fingerprint and quality scores into a dataset's table.

    Args:
        text: The file, valid TOML.
        at: Which ``[[dataset]]``, from 0.
        columns: Names of the registered columns.
        fingerprint: Digest of their contents, 32 bytes.
        quality: Scores by name; None = as they stand there.

    Returns:
        The file's new text.

    Guarantees:
        The new text reads as the old one did but for these keys of this table. Every other line, comment
        and blank stays where it is; columns that already stand there as they are stay untouched.

    Raises:
        ConfigError: the table is written in a way that is not understood; the message has the lines to write.
    """
    wanted = tomllib.loads(text)
    table = wanted["dataset"][at]
    new: dict[str, object] = {"columns": list(columns), "fingerprint": fingerprint.hex()}
    values = {key: json.dumps(value, ensure_ascii=False) for key, value in new.items()}
    if quality is not None and quality != table.get("quality", {}):
        new["quality"] = dict(quality)
        values["quality"] = f"{{ {', '.join(f'{name} = {score!r}' for name, score in quality.items())} }}"
    changed = {key: value for key, value in values.items() if table.get(key) != new[key]}
    table |= new
    edited = _edited(text, at, changed)
    if edited is None or _read(edited) != wanted:
        lines = "\n".join(f"{key} = {value}" for key, value in values.items())
        raise ConfigError(
            f"node.toml: dataset {table['name']} is not written as [[dataset]] with a line for each key; "
            f"nothing was changed. Write into it yourself:\n{lines}"
        )
    return edited


def _edited(text: str, at: int, values: Mapping[str, str]) -> str | None:
    """The text with the keys set in a dataset's block of lines; None where there is no such block."""
    lines = text.split("\n")
    begins = [number for number, line in enumerate(lines) if _DATASET.match(line)]
    if at >= len(begins):
        return None
    begin = begins[at] + 1
    following = (number for number in range(begin, len(lines)) if _HEADER.match(lines[number]))
    end = next(following, len(lines))
    block = lines[begin:end]
    for key, value in values.items():
        block = _with_value(block, key, value)
    return "\n".join([*lines[:begin], *block, *lines[end:]])


def _with_value(block: list[str], key: str, value: str) -> list[str]:
    """Lines with a key's value replaced, or behind the last key if it is not there."""
    key_and_value = re.compile(rf"^([ \t]*{key}[ \t]*=[ \t]*)(?:{_VALUE})", re.MULTILINE)
    replaced, times = key_and_value.subn(lambda found: found[1] + value, "\n".join(block), count=1)
    if times:
        return replaced.split("\n")
    is_key = [bool(line.strip()) and not line.lstrip().startswith("#") for line in block]
    after = max((number + 1 for number, is_one in enumerate(is_key) if is_one), default=0)
    return [*block[:after], f"{key} = {value}", *block[after:]]


def _read(text: str) -> dict[str, Any] | None:  # `Any`: what a TOML file may hold
    """The document; None for text that is not TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return None
