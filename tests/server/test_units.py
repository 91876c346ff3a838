from __future__ import annotations

import shutil
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from fedmed.errors import ConfigError
from fedmed.supervision.guard import Guard
from fedmed.supervision.processes import free_ports
from fedmed.supervision.units import render_unit
from fedmed_server.home import Addresses, Home, create_home
from fedmed_server.units import coordinator_service, nginx_text
from tests.server.test_home import NOW, make_card

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


def make(folder: Path, *, port: int = 8443, superlink_port: int = 8000) -> Home:
    addresses = Addresses(names=("localhost",), host="127.0.0.1", port=port, superlink_port=superlink_port)
    return create_home(folder / "home", [make_card(n) for n in ("a", "b", "c")], addresses=addresses, now=NOW)


def test_a_coordinator_gets_the_right_to_a_low_port_and_no_other(tmp_path: Path) -> None:
    home = make(tmp_path, port=443)
    service = coordinator_service(home)
    assert service.capabilities == ("CAP_NET_BIND_SERVICE",)
    assert "CapabilityBoundingSet=CAP_NET_BIND_SERVICE\n" in render_unit(service)
    assert service.writable == (str(home.path),)


def test_nginx_needs_a_port_of_its_own(tmp_path: Path) -> None:
    home = make(tmp_path)
    for port in (8443, 8000):
        with pytest.raises(ConfigError, match="taken by the coordinator itself"):
            nginx_text(home, port=port)
    assert "listen 443 ssl;" in nginx_text(home, port=443)


class Backend(BaseHTTPRequestHandler):
    """A SuperLink that says which path it got; ``/v1/fleet/fails`` is its fault."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        size = int(self.headers.get("content-length", 0))
        body = self.rfile.read(size)
        answer = f"{self.path} {len(body)}".encode()
        self.send_response(500 if self.path.endswith("fails") else 200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        return


@contextmanager
def superlink(home: Home) -> Iterator[None]:
    """A small real backend with the home's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*home.server_certificate)
    with ThreadingHTTPServer(("127.0.0.1", home.addresses().superlink_port), Backend) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield
        server.shutdown()


@contextmanager
def nginx(folder: Path, home: Home, *, port: int) -> Iterator[httpx.Client]:
    """A real nginx with the rendered file."""
    (folder / "fedmed.conf").write_text(nginx_text(home, port=port))
    places = "".join(
        f"{name}_temp_path {folder};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(
        f"daemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{places}include {folder}/fedmed.conf;\n}}\n"
    )
    words = [str(NGINX), "-p", str(folder), "-c", str(folder / "nginx.conf")]
    subprocess.run([*words, "-t"], check=True, capture_output=True)
    process = subprocess.Popen([*words, "-e", str(folder / "error.log")], start_new_session=True)
    guard = Guard()  # it does not outlive a test run that is killed
    guard.watch(process.pid)
    trusted = ssl.create_default_context(cafile=str(home.authority_certificate))
    try:
        with httpx.Client(base_url=f"https://localhost:{port}", verify=trusted, trust_env=False) as client:
            _wait_for(client, process)
            yield client
    finally:
        process.terminate()
        process.wait(60)
        guard.close()


def _wait_for(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None
        try:
            client.get("/")
        except httpx.TransportError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("nginx does not listen")


@pytest.mark.slow
@pytest.mark.skipif(NGINX is None, reason="apt-get install nginx-light would make this run")
def test_a_real_nginx_forwards_fleet_calls_and_nothing_else(tmp_path: Path) -> None:
    port, inside, superlink_port = free_ports(3)
    home = make(tmp_path, port=inside, superlink_port=superlink_port)
    tmp_path.chmod(0o755)
    with nginx(tmp_path, home, port=port) as client:
        assert client.post("/v1/fleet/pull-messages").status_code == 503, "the SuperLink is away"
        with superlink(home):
            body = b"x" * (5 << 20)
            answer = client.post("/v1/fleet/pull-messages", content=body)
            assert (answer.status_code, answer.text) == (200, f"/v1/fleet/pull-messages {len(body)}")
            assert client.post("/v1/fleet/fails").status_code == 503, "a 500 would end SuperNodes"
            for path in (
                "/v1/control/start-run",
                "/v1/runtime/acquire-task",
                "/openapi.json",
                "/v1/fleet/x?y=1",
                "/v1/fleet/%2e%2e/control/start-run",
                "/v1/fleet/../control/start-run",
                "/v1/fleet//x",
                "/v1//fleet/x",
                "/v1/fleet/x%2fy",
                "/v1/fleet/X",
                "/v1/fleet/",
            ):
                assert client.post(httpx.URL(str(client.base_url), raw_path=path.encode())).status_code in (
                    403,
                    400,
                ), path
            assert client.get("/v1/fleet/pull-messages").status_code == 403
            assert client.post("/v1/fleet/x", content=b"x" * (65 << 20)).status_code == 413
        old = ssl.create_default_context(cafile=str(home.authority_certificate))
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        with httpx.Client(verify=old, trust_env=False) as outdated, pytest.raises(httpx.ConnectError):
            outdated.post(f"https://localhost:{port}/v1/fleet/x")
