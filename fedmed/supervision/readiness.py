"""Tells the service manager that a service is ready and still looks after its work (sd_notify(3))."""

from __future__ import annotations

import contextlib
import os
import socket


def notify(state: str) -> None:
    """Send one message to the service manager; without one, or when it does not listen, nothing happens.

    Args:
        state: ``READY=1``, ``WATCHDOG=1`` or ``STOPPING=1``.
    """
    place = os.environ.get("NOTIFY_SOCKET", "")
    if not place.startswith(("/", "@")):
        return
    # A leading @ stands for the abstract name space, whose names begin with a zero byte.
    address = "\0" + place[1:] if place.startswith("@") else place
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, contextlib.suppress(OSError):
        manager.sendto(state.encode(), address)
