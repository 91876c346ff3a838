"""Under which keys a custodian's store keeps its studies; light, for commands that load no model."""

from __future__ import annotations

import json
from typing import Final

INDEX: Final = "studies"
RESTORED: Final = "restored"
"""Store key that says that a backup came back here, at any time, and in words which one."""


def study_key(digest: bytes, part: str) -> str:
    """Store key of one part of a study: ``proposal``, ``approved``, ``state``, ``restored``..."""
    return f"study/{digest.hex()}/{part}"


def known_studies(index: bytes | None) -> tuple[str, ...]:
    """Hex digests of all studies ever proposed, from the value of `INDEX`."""
    return tuple(json.loads(index or b"[]"))


def restored_values(index: bytes | None, words: str) -> dict[str, bytes]:
    """What to store when a backup came back: every known study is answered no more, every new one waits.

    Args:
        index: The value of `INDEX`.
        words: What came back, for the operator.
    """
    studies = {study_key(bytes.fromhex(study), "restored"): b"1" for study in known_studies(index)}
    return {**studies, RESTORED: words.encode()}
