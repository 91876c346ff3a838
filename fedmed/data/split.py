"""Which persons are held out: a function of the pseudonym alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from fedmed.types import require

_LABEL = b"fedmed/held-out/v1\x00"
_WORD = 1 << 64


def is_held_out(person_ids: Iterable[str], share: float) -> npt.NDArray[np.bool_]:
    """Say for each pseudonym whether its person is held out of training.

    The first 64 bits of SHA-256 of the pseudonym, as a fraction of 2^64, are compared with the share.
    So the answer is the same at every node, in every run and for every row of a person, it needs no
    random state, and a larger share holds out a superset of a smaller one.

    Args:
        person_ids: Pseudonyms as text; one may occur several times.
        share: Share of persons to hold out, 0 <= share < 1.

    Returns:
        One truth value an id, in order.

    Guarantees:
        Equal ids get equal answers: no person straddles the split. The share of distinct persons held
        out is ``share`` up to chance.

    Raises:
        ConfigError: ``share`` lies outside [0, 1).
    """
    require(0 <= share < 1, f"held_out must be in [0, 1), got {share}")
    digests = [hashlib.sha256(_LABEL + person.encode()).digest()[:8] for person in person_ids]
    words = np.frombuffer(b"".join(digests), dtype=">u8")
    return np.asarray(words < np.uint64(int(share * _WORD)), dtype=np.bool_)
