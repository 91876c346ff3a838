"""Time at a custodian, as an argument: the system's clock, and one that a test or simulation sets."""

from __future__ import annotations

import datetime
import time
from typing import Protocol


class Clock(Protocol):
    """What a custodian asks of time."""

    def now(self) -> datetime.datetime:
        """The present, with its offset from UTC."""
        ...

    def wait_for_tick(self, tick_s: float) -> None:
        """Wait until the next multiple of ``tick_s`` seconds; 0 does not wait."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime.datetime:
        """See `Clock.now`."""
        return datetime.datetime.now(tz=datetime.UTC)

    def wait_for_tick(self, tick_s: float) -> None:
        """See `Clock.wait_for_tick`; a fixed tick hides how long row work and sampling took."""
        if tick_s > 0:
            time.sleep(tick_s - time.time() % tick_s)


class FixedClock:
    """A clock that stands still, for simulations and tests."""

    def __init__(self, now: datetime.datetime) -> None:
        self._now = now

    def now(self) -> datetime.datetime:
        """See `Clock.now`."""
        return self._now

    def wait_for_tick(self, tick_s: float) -> None:
        """See `Clock.wait_for_tick`; never waits."""
