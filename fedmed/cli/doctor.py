"""``fedmed doctor``: asks everybody who knows something, and shows what is to be mended."""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from fedmed.doctor.door import examine_door
from fedmed.doctor.finding import Examine, Finding, Level, Question
from fedmed.doctor.machine import examine_machine
from fedmed.errors import ConfigError

_GROUP = "fedmed.doctor"
_WORDS = {Level.OK: "ok  ", Level.NOTE: "note", Level.BAD: "FAIL"}


def examine(question: Question | None, *, front_door: str, authority: Path | None) -> Iterator[Finding]:
    """Look at the home that was named, and at the front door.

    Args:
        question: About a home; None for none.
        front_door: ``host:port``, where no home says it or another one is meant.
        authority: Certificate that it is verified by.

    Raises:
        ConfigError: the folder is no home of anybody's.
    """
    if question is not None:
        is_home = False
        for entry in entry_points(group=_GROUP):
            look: Examine = entry.load()
            for one in look(question):
                is_home = True
                yield one
        if not is_home:
            raise ConfigError(
                f"{question.home} is no home: it has neither node.toml nor coordinator.toml; "
                "make one with fedmed node init or fedmed server init. A courier's folder is looked at with "
                "its home: fedmed doctor HOME --courier FOLDER"
            )
    elif front_door:
        yield from examine_door(front_door, authority, now=datetime.datetime.now(tz=datetime.UTC))


def findings(
    question: Question | None, *, front_door: str, authority: Path | None, crypto: bool
) -> Iterator[Finding]:
    """Everything: the home first, for whoever names one asks about it, then this machine."""
    yield from examine(question, front_door=front_door, authority=authority)
    yield from examine_machine(crypto=crypto)


def lines(one: Finding) -> str:
    """A finding for a terminal: one line, and two more where there is something to do."""
    head = f"{_WORDS[one.level]}  {one.name}: {one.detail}"
    if one.level is Level.OK:
        return head
    return f"{head}\n      why it matters: {one.why}\n      what to do: {one.mend}"


def document(found: list[Finding]) -> str:
    """All findings as one JSON document."""
    told: list[dict[str, Any]] = [  # Any: JSON values
        {
            "name": one.name,
            "ok": one.ok,
            "level": one.level.value,
            "detail": one.detail,
            "why": one.why,
            "mend": one.mend,
        }
        for one in found
    ]
    return json.dumps({"findings": told}, ensure_ascii=False, indent=2)
