"""Ends a command in order, whoever ends it: what Control-C does, being told to stop does too."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_SIGNS: Final = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def stopped_in_order() -> Iterator[None]:
    """SIGTERM and SIGHUP raise `KeyboardInterrupt` inside, so that processes and folders are cleared away.

    Without it they would end the process where it stands: a demonstration would leave its nodes' processes,
    and their keys and rows in a temporary folder. A signal that is ignored stays so (``nohup``), and so does
    what a command of its own does with it; outside the main thread nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    former = {sign: signal.getsignal(sign) for sign in _SIGNS}
    ours = [sign for sign, handler in former.items() if handler is signal.SIG_DFL]

    def interrupt(*_: object) -> None:
        """As Python does for Control-C; once, so that a second signal does not stop the clearing away."""
        for sign in ours:
            signal.signal(sign, signal.SIG_IGN)
        raise KeyboardInterrupt

    for sign in ours:
        signal.signal(sign, interrupt)
    try:
        yield
    finally:
        for sign in ours:
            signal.signal(sign, former[sign])
