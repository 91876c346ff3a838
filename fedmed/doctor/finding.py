"""What the doctor says of one thing, and how a check that raises becomes such a finding."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from fedmed.errors import FedMedError
from fedmed.study import StudySpec
from fedmed.types import require


class Level(Enum):
    """How it stands: as it should be, worth knowing, or to be mended."""

    OK = "ok"
    NOTE = "note"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that the doctor looked at.

    Attributes:
        name: What.
        level: How it stands.
        detail: What was found; public words only.
        why: What goes wrong while it stays so; empty where all is well.
        mend: The command or act that mends it; empty where all is well.
    """

    name: str
    level: Level
    detail: str
    why: str = ""
    mend: str = ""

    def __post_init__(self) -> None:
        told = bool(self.why) and bool(self.mend)
        require(
            told or self.level is Level.OK, f"finding {self.name} must say why it matters and what mends it"
        )

    @property
    def ok(self) -> bool:
        """Whether nothing needs mending."""
        return self.level is not Level.BAD


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What the doctor was asked.

    Attributes:
        home: A node's or a coordinator's home, absolute.
        study: A study to look whether this home can serve it; None for none.
        front_door: ``host:port`` by which nodes reach the coordinator; empty where nobody said it.
        authority: Certificate that the front door is verified by; None where nobody named it.
        now: The time on this machine when this was made.
        courier: A node's courier, where it does not lie in the home; None where it does, or there is none.
        elapsed_s: Tells the seconds since then: other examinations take a while.
    """

    home: Path
    now: datetime.datetime
    study: StudySpec | None = None
    front_door: str = ""
    authority: Path | None = None
    courier: Path | None = None
    elapsed_s: Callable[[], float] = lambda: 0.0

    def __post_init__(self) -> None:
        require(self.now.tzinfo is not None, "now must have a time zone")

    @property
    def present(self) -> datetime.datetime:
        """The time on this machine by now."""
        return self.now + datetime.timedelta(seconds=self.elapsed_s())


Examine = Callable[[Question], Iterator[Finding]]
"""What stands in the entry-point group ``fedmed.doctor``; it yields nothing for a folder it does not know."""


def well(name: str, detail: str) -> Finding:
    """Something is as it should be."""
    return Finding(name=name, level=Level.OK, detail=detail)


def note(name: str, detail: str, *, why: str, mend: str) -> Finding:
    """Something is worth knowing; nothing fails because of it."""
    return Finding(name=name, level=Level.NOTE, detail=detail, why=why, mend=mend)


def amiss(name: str, detail: str, *, why: str, mend: str) -> Finding:
    """Something must be mended."""
    return Finding(name=name, level=Level.BAD, detail=detail, why=why, mend=mend)


def tried(name: str, look: Callable[[], str], *, why: str, mend: str) -> Finding:
    """Look at something; what the look raises is what is wrong.

    Args:
        name: What is looked at.
        look: Gives the detail when all is well.
        why: What goes wrong while it stays so.
        mend: The command or act that mends it.

    Returns:
        The finding; errors that nobody foresaw pass through.
    """
    try:
        return well(name, look())
    except FedMedError as fault:
        return amiss(name, f"{fault.code}: {fault}", why=why, mend=mend)
    except OSError as fault:
        told = fault.strerror or type(fault).__name__
        return amiss(name, f"{told}: {fault.filename or 'no file'}", why=why, mend=mend)
