"""What the verifier tells its reader."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One thing that holds.

    Attributes:
        name: What was checked, a word or two.
        detail: What was found, one line for people.
    """

    name: str
    detail: str
