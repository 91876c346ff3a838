"""The front door: a TLS proxy that lets SuperNodes reach Flower's Fleet API and nothing else.

A SuperLink serves all its APIs on one port, and the one that submits apps has no authentication. So the
SuperLink listens on loopback only, and what comes from outside passes here: ``POST /v1/fleet/<call>`` is
forwarded, everything else is refused with 403.

Answers 500 of the SuperLink become 503, as does its absence: a SuperNode retries on 502, 503 and 504, while
any other 5xx ends its main loop and leaves a process that looks healthy and never polls again.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import ssl
import sys
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass
from typing import Final

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from fedmed.errors import MessageMalformed
from fedmed.types import require

MOST_BODY_BYTES: Final = 64 << 20
"""Largest request; Flower sends its payloads in objects of about 5 MB."""
MOST_CONNECTIONS: Final = 512
BODY_DEADLINE_S: Final = 120.0

# Matched against the path as it came over the wire, before any decoding: no dot, percent sign or second
# slash gets through, so nobody can talk his way to another API.
_FLEET: Final = re.compile(rb"/v1/fleet/[a-z][a-z-]{0,63}")
# Connection headers belong to one hop (RFC 9110 section 7.6.1); the host is the backend's own.
_HOP_HEADERS: Final = frozenset(
    b"connection keep-alive proxy-authenticate proxy-authorization te trailer transfer-encoding upgrade"
    b" host content-length".split()
)
_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorSettings:
    """How to run a front door.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        certificate: Path of the server certificate, PEM.
        private_key: Path of its key, PEM.
        backend: ``host:port`` of the SuperLink, on loopback.
        backend_authority: Path of the certificate that the SuperLink's own is signed by.
    """

    host: str
    port: int
    certificate: str
    private_key: str
    backend: str
    backend_authority: str

    def __post_init__(self) -> None:
        require(1 <= self.port <= 65535, f"port must be in 1..65535, got {self.port}")
        host = self.backend.rpartition(":")[0]
        require(host in ("127.0.0.1", "localhost", "[::1]"), "backend must be a SuperLink on loopback")

    def to_json(self) -> str:
        """As `from_json` reads it."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> DoorSettings:
        """Read what `to_json` wrote; raises `TypeError` for other keys."""
        return cls(**json.loads(text))


def build_door(backend: httpx.AsyncClient, *, most_body_bytes: int = MOST_BODY_BYTES) -> Starlette:
    """Make the proxy's application.

    Args:
        backend: Client whose base URL is the SuperLink.
        most_body_bytes: Largest request body.

    Guarantees:
        Only ``POST /v1/fleet/<call>`` without a query reaches the backend; bodies pass in pieces, and not
        more than ``most_body_bytes`` of them; an absent backend is 503.
    """

    async def pass_on(request: Request) -> Response:
        path: bytes = request.scope["raw_path"]
        if request.method != "POST" or _FLEET.fullmatch(path) is None or request.scope["query_string"]:
            return PlainTextResponse("forbidden", status_code=403)
        if not _length_is_fine(request, most_body_bytes):
            return PlainTextResponse("too large", status_code=413)
        question = backend.build_request(
            "POST",
            path.decode("ascii"),
            headers=_forwarded(request),
            content=_bounded(request, most_body_bytes),
        )
        try:
            answer = await backend.send(question, stream=True)
        except MessageMalformed:
            return PlainTextResponse("too large", status_code=413)
        except (httpx.TransportError, TimeoutError):
            return PlainTextResponse("the coordinator is away", status_code=503)
        except ClientDisconnect:
            return Response(status_code=400)
        return _answer(answer)

    every_method = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"]
    routes = [Route("/{path:path}", pass_on, methods=every_method)]
    return Starlette(routes=routes, lifespan=lambda _: _closing(backend))


@contextlib.asynccontextmanager
async def _closing(backend: httpx.AsyncClient) -> AsyncIterator[None]:
    """Hold the client for as long as the door stands open."""
    async with backend:
        yield


def _length_is_fine(request: Request, most: int) -> bool:
    """Whether a stated length is a number within the limit; without one the body is counted."""
    stated = request.headers.get("content-length")
    return stated is None or (stated.isascii() and stated.isdigit() and int(stated) <= most)


def _forwarded(request: Request) -> list[tuple[bytes, bytes]]:
    """The headers that belong to the question rather than to the connection."""
    kept = [(name, value) for name, value in request.headers.raw if name not in _HOP_HEADERS]
    stated = request.headers.get("content-length")
    return [*kept, (b"content-length", stated.encode())] if stated is not None else kept


async def _bounded(request: Request, most: int) -> AsyncIterator[bytes]:
    """The body, piece by piece; stops at the limit and at the deadline."""
    received = 0
    async with asyncio.timeout(BODY_DEADLINE_S):
        async for piece in request.stream():
            received += len(piece)
            if received > most:
                raise MessageMalformed(f"a request must have at most {most} bytes")
            yield piece


def _answer(answer: httpx.Response) -> Response:
    """The backend's answer, passed on in pieces."""
    status = 503 if answer.status_code == 500 else answer.status_code
    response = StreamingResponse(
        answer.aiter_raw(), status_code=status, background=BackgroundTask(answer.aclose)
    )
    kept = [(name.lower(), value) for name, value in answer.headers.raw]
    response.raw_headers = [(name, value) for name, value in kept if name not in _HOP_HEADERS]
    length = answer.headers.get("content-length")
    if length is not None:
        response.raw_headers.append((b"content-length", length.encode()))
    return response


def backend_client(settings: DoorSettings) -> httpx.AsyncClient:
    """The client for a SuperLink; reads no proxy and no certificate from the environment."""
    context = ssl.create_default_context(cafile=settings.backend_authority)
    limits = httpx.Limits(max_connections=MOST_CONNECTIONS, max_keepalive_connections=64)
    return httpx.AsyncClient(
        base_url=f"https://{settings.backend}",
        verify=context,
        timeout=_TIMEOUT,
        limits=limits,
        trust_env=False,
        follow_redirects=False,
    )


def make_server(settings: DoorSettings) -> uvicorn.Server:
    """A server that is ready to run; TLS 1.3 only, for SuperNodes are the only clients."""
    config = uvicorn.Config(
        build_door(backend_client(settings)),
        host=settings.host,
        port=settings.port,
        ssl_certfile=settings.certificate,
        ssl_keyfile=settings.private_key,
        limit_concurrency=MOST_CONNECTIONS,
        ws="none",  # no upgrade: only POST passes
        proxy_headers=False,
        server_header=False,
        access_log=False,
        log_level="warning",
        lifespan="on",
        loop="asyncio",
        timeout_graceful_shutdown=2,
    )
    config.load()
    if config.ssl is not None:
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_3
    return uvicorn.Server(config)


def main(arguments: list[str] | None = None) -> int:
    """Run a front door with the settings that stand as JSON in the one argument."""
    given = sys.argv[1:] if arguments is None else arguments
    make_server(DoorSettings.from_json(given[0])).run()
    return 0


def command(settings: DoorSettings) -> tuple[str, ...]:
    """The command line that runs a front door in a process of its own."""
    return (sys.executable, "-m", "fedmed_server.front_door", settings.to_json())


if __name__ == "__main__":
    sys.exit(main())
