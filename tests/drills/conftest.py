"""One federation for all drills: starting one takes longer than most of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.drills.arena import Arena, arena


@pytest.fixture(scope="session")
def federation() -> Iterator[Arena]:
    """Three provinces and a coordinator as real processes, all well."""
    with arena() as made:
        made.wait_until_online()
        yield made


@pytest.fixture
def field(federation: Arena) -> Iterator[Arena]:
    """The federation for one drill, after which every part must come online again by itself.

    Where it does not, that drill has an error, and everything is started anew: the next one is not to blame.
    """
    yield federation
    try:
        federation.wait_until_online()
    except AssertionError:
        federation.rebuild()
        federation.wait_until_online()
        raise
