"""One small chunk of persons, drawn once for all tests of this folder."""

from __future__ import annotations

import pytest

from fedmed.data.claims.generate import ClaimsSettings, draw_chunk
from fedmed.data.claims.persons import ChunkPlace
from fedmed.data.claims.settlement_rows import Chunk

ANHUI = 3


@pytest.fixture(scope="package")
def chunk() -> Chunk:
    """600 persons of Anhui over two years."""
    place = ChunkPlace(home=ANHUI, seed=5, number=0, start=0, persons=600)
    return draw_chunk(ClaimsSettings(people=600, seed=5, years=2, provinces=("anhui",)), place)[1]
