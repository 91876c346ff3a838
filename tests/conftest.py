"""Settings of the whole suite: the same examples in every run, so that a failure is never one of chance.

``make test HYPOTHESIS_PROFILE=explore`` looks for new examples; ``make test-fast`` draws ten of each law.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

settings.register_profile("same", derandomize=True, deadline=None)
settings.register_profile("fast", settings.get_profile("same"), max_examples=10)
settings.register_profile("explore", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "same"))


def pytest_configure() -> None:
    """Leave garbage alone while modules and tests are gathered: looking for it was a third of that time."""
    gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Collect garbage from here on, but never walk what was gathered: those objects live to the end."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    """Give back what was set aside, so that libraries which count their objects at the end find none left."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def same_umask() -> Iterator[None]:
    """Put the umask back: a custodian closes it for good, and a test may run one in this process."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)
