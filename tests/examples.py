"""How many examples a property test draws: its own number, and never more than the profile that runs."""

from __future__ import annotations

from hypothesis import settings


def at_most(examples: int) -> int:
    """The test's own number, or the fewer of ``make test-fast``.

    A number written beside a test goes before that of a profile; by this one the profile has a say.
    """
    return min(examples, settings().max_examples)
