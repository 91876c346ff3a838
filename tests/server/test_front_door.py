from __future__ import annotations

import contextlib
import datetime
import http.client
import socket
import ssl
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from fedmed.errors import ConfigError
from fedmed_server.authority import issue_server, make_authority
from fedmed_server.front_door import DoorSettings, backend_client, build_door, make_server

NOW = datetime.datetime.now(tz=datetime.UTC)
SMALL_LIMIT = 1 << 20


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running(server: uvicorn.Server) -> Iterator[None]:
    """A server in a thread of its own, with real sockets."""
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 60
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(60)


class Backend:
    """What stands for the SuperLink: says what reached it."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes, dict[str, str]]] = []
        self.app = Starlette(routes=[Route("/{path:path}", self._answer, methods=["GET", "POST", "PUT"])])

    async def _answer(self, request: Request) -> Response:
        body = await request.body()
        self.seen.append((request.url.path, body, dict(request.headers)))
        if request.url.path.endswith("broken"):
            return Response(status_code=500)
        if request.url.path.endswith("refused"):
            return Response(b"no", status_code=401)
        if request.url.path.endswith("stream"):
            return StreamingResponse(_pieces(), media_type="application/protobuf")
        headers = {"x-flower": "yes"}
        if request.url.path.endswith("activate-node"):
            headers["connection"] = "close"  # so that this backend can leave at once
        return Response(body[::-1], media_type="application/protobuf", headers=headers)


async def _pieces() -> AsyncIterator[bytes]:
    for i in range(64):
        yield bytes([i]) * (1 << 15)


class Door:
    """A front door, its backend, and the certificate to trust."""

    def __init__(self, folder: Path) -> None:
        authority = make_authority("test", now=NOW)
        server = issue_server(authority, ["127.0.0.1", "localhost"], now=NOW)
        self.ca, self.pem, self.key = folder / "ca.crt", folder / "server.pem", folder / "server.key"
        self.ca.write_bytes(authority.certificate)
        self.pem.write_bytes(server.certificate)
        self.key.write_bytes(server.private_key)
        self.backend = Backend()
        self.backend_port, self.port = free_port(), free_port()
        self.settings = DoorSettings(
            host="127.0.0.1",
            port=self.port,
            certificate=str(self.pem),
            private_key=str(self.key),
            backend=f"127.0.0.1:{self.backend_port}",
            backend_authority=str(self.ca),
        )

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=f"https://127.0.0.1:{self.port}", verify=self.context(), trust_env=False)

    def backend_server(self) -> uvicorn.Server:
        return uvicorn.Server(
            uvicorn.Config(
                self.backend.app,
                host="127.0.0.1",
                port=self.backend_port,
                ssl_certfile=str(self.pem),
                ssl_keyfile=str(self.key),
                log_level="error",
                lifespan="off",
                loop="asyncio",
                ws="none",
            )
        )


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    made = Door(tmp_path_factory.mktemp("door"))
    with running(made.backend_server()), running(make_server(made.settings)):
        yield made


def test_a_fleet_call_passes_with_its_headers_and_comes_back(door: Door) -> None:
    with door.client() as client:
        answer = client.post("/v1/fleet/pull-messages", content=b"abc", headers={"x-signature": "s"})
    assert (answer.status_code, answer.content, answer.headers["x-flower"]) == (200, b"cba", "yes")
    path, body, headers = door.backend.seen[-1]
    assert (path, body, headers["x-signature"]) == ("/v1/fleet/pull-messages", b"abc", "s")
    assert headers["host"] == f"127.0.0.1:{door.backend_port}"


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/control/start-run"),
        ("POST", "/v1/runtime/acquire-task"),
        ("GET", "/v1/fleet/pull-messages"),
        ("PUT", "/v1/fleet/pull-messages"),
        ("GET", "/health"),
        ("GET", "/docs"),
        ("GET", "/openapi.json"),
        ("POST", "/"),
        ("POST", "/v1/fleet/"),
        ("POST", "/v1/fleet/a/b"),
        ("POST", "/v1/fleet/../control/start-run"),
        ("POST", "/v1/fleet/%2e%2e/control/start-run"),
        ("POST", "/v1/fleet/%2E%2E%2Fcontrol%2Fstart-run"),
        ("POST", "/v1//fleet/pull-messages"),
        ("POST", "//v1/fleet/pull-messages"),
        ("POST", "/V1/FLEET/pull-messages"),
        ("POST", "/v1/fleet/pull-messages?x=1"),
        ("POST", "/v1/fleet/pull-messages;x"),
        ("POST", "/v1/control/start-run/v1/fleet/x"),
    ],
)
def test_everything_else_is_forbidden_and_reaches_nobody(door: Door, method: str, path: str) -> None:
    before = len(door.backend.seen)
    # http.client sends the path as it is written; httpx would tidy it first.
    connection = http.client.HTTPSConnection("127.0.0.1", door.port, context=door.context(), timeout=60)
    connection.request(method, path, body=b"x")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    assert answer.status == 403
    assert len(door.backend.seen) == before


def test_a_long_answer_comes_in_pieces_and_whole(door: Door) -> None:
    with door.client() as client:
        answer = client.post("/v1/fleet/stream")
    assert answer.content == b"".join(bytes([i]) * (1 << 15) for i in range(64))


def test_a_refusal_of_the_backend_passes_and_its_fault_becomes_a_retry(door: Door) -> None:
    with door.client() as client:
        assert client.post("/v1/fleet/refused").status_code == 401
        assert client.post("/v1/fleet/broken").status_code == 503


def test_a_body_over_the_limit_is_cut_off(door: Door) -> None:
    settings = DoorSettings.from_json(door.settings.to_json().replace(str(door.port), str(free_port())))
    app = build_door(backend_client(settings), most_body_bytes=SMALL_LIMIT)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=settings.port,
            log_level="error",
            lifespan="on",
            loop="asyncio",
            ws="none",
        )
    )

    def pieces() -> Iterator[bytes]:  # without a stated length
        for _ in range(64):
            yield bytes(SMALL_LIMIT // 32)

    with running(server), httpx.Client(base_url=f"http://127.0.0.1:{settings.port}", trust_env=False) as c:
        before = len(door.backend.seen)
        assert c.post("/v1/fleet/x", content=bytes(SMALL_LIMIT + 1)).status_code == 413
        assert c.post("/v1/fleet/x", content=pieces()).status_code == 413
        assert len(door.backend.seen) == before
        assert c.post("/v1/fleet/x", content=bytes(SMALL_LIMIT)).status_code == 200


def test_an_absent_backend_is_503_and_its_return_is_noticed(tmp_path: Path) -> None:
    door = Door(tmp_path)
    with running(make_server(door.settings)), door.client() as client:
        assert client.post("/v1/fleet/activate-node").status_code == 503
        assert client.post("/v1/control/start-run").status_code == 403
        with running(door.backend_server()):
            assert client.post("/v1/fleet/activate-node").status_code == 200
        assert client.post("/v1/fleet/activate-node").status_code == 503


def test_a_client_that_does_not_trust_the_authority_gets_no_further(door: Door) -> None:
    with pytest.raises(httpx.ConnectError), httpx.Client(trust_env=False) as client:
        client.post(f"https://127.0.0.1:{door.port}/v1/fleet/pull-messages")


def test_plain_http_and_old_tls_are_refused(door: Door) -> None:
    with pytest.raises(httpx.HTTPError), httpx.Client(trust_env=False) as client:
        client.post(f"http://127.0.0.1:{door.port}/v1/fleet/pull-messages")
    old = door.context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(ssl.SSLError), socket.create_connection(("127.0.0.1", door.port), 5) as plain:
        old.wrap_socket(plain, server_hostname="127.0.0.1").close()


@pytest.mark.parametrize("backend", ["10.0.0.1:8000", "superlink.example:8000", "0.0.0.0:8000"])
def test_a_backend_elsewhere_is_refused(door: Door, backend: str) -> None:
    text = door.settings.to_json().replace(door.settings.backend, backend)
    with pytest.raises(ConfigError, match="loopback"):
        DoorSettings.from_json(text)
