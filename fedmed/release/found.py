"""What the verifier tells its reader."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """One thing that holds.

    Attributes:
        name: What was checked, a word or two.
        detail: What was found, one line for people.
        rests: What of it rests on the coordinator's word alone; empty where nothing does.
    """

    name: str
    detail: str
    rests: str = ""
