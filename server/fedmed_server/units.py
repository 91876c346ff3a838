"""What a coordinator's machine runs in production: its systemd unit and the nginx in front of it."""

from __future__ import annotations

import pwd
import sys
from pathlib import Path
from typing import Final

from fedmed.supervision.units import Service, render
from fedmed.types import require
from fedmed_server.front_door import MOST_BODY_BYTES
from fedmed_server.home import Home

COORDINATOR_UNIT: Final = "fedmed-coordinator"
_FIRST_FREE_PORT: Final = 1024


def coordinator_service(home: Home) -> Service:
    """The coordinator's service: SuperLink, SuperExec and front door under ``fedmed server up``.

    Args:
        home: Whose owner is the service's user.
    """
    addresses = home.addresses()
    return Service(
        name=COORDINATOR_UNIT,
        description="FedMed coordinator: SuperLink, SuperExec and front door",
        command=(str(Path(sys.executable).parent / "fedmed"), "server", "up", str(home.path)),
        user=pwd.getpwuid(home.path.stat().st_uid).pw_name,
        writable=(str(home.path),),
        network_lines=(f"# Provinces reach {addresses.host}:{addresses.port}; the rest is loopback.",),
        is_notifying=True,
        uses_home=any(Path(top) in home.path.parents for top in ("/home", "/root")),
        capabilities=("CAP_NET_BIND_SERVICE",) if addresses.port < _FIRST_FREE_PORT else (),
    )


def nginx_text(home: Home, *, port: int) -> str:
    """The nginx file that stands in for the embedded front door.

    Args:
        home: Names hosts, ports and certificates.
        port: Where nginx listens.

    Raises:
        ConfigError: the embedded front door has that port, or a path is not a plain word.

    Guarantees:
        It forwards ``POST /v1/fleet/<call>`` and nothing else, trusts no backend but the SuperLink's
        certificate, and answers 503 while the SuperLink is away or fails.
    """
    addresses = home.addresses()
    require(
        port not in (addresses.port, addresses.superlink_port),
        f"port {port} is taken by the coordinator itself; in coordinator.toml write host = '127.0.0.1' and "
        "another port, so that its own front door stays inside",
    )
    certificate, key = home.server_certificate
    return render(
        "fedmed_server",
        "nginx.j2",
        names=addresses.names,
        port=port,
        superlink_port=addresses.superlink_port,
        certificate=str(certificate),
        key=str(key),
        authority=str(home.authority_certificate),
        most_body_bytes=MOST_BODY_BYTES,
    )
