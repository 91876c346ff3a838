"""One federation for all drills: starting one takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.drills.arena import Arena, arena


@pytest.fixture(scope="session")
def federation() -> Iterator[Arena]:
    """Three provinces and a coordinator as real processes, all well."""
    with arena() as made:
        yield made


@pytest.fixture
def field(federation: Arena) -> Arena:
    """The federation with every part online again, whatever the drill before did to it."""
    federation.wait_until_online()
    return federation
