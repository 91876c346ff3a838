"""Reviewed app bundles: the coordinator's bundle file, the provinces' signatures, and what hands both out.

Flower fetches signatures only for apps that come from a registry, so the coordinator runs a small one on
loopback for its own SuperLink. It holds one app. Threat model: whoever reaches it can read a public bundle
and public signatures; it takes nothing in.
"""

from __future__ import annotations

import json
import socket
import sys
from pathlib import Path
from typing import Final

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from fedmed.crypto.bundle_review import BundleReview, check_review, read_review, review_text
from fedmed.errors import ConfigError, ProcessFailed
from fedmed.supervision.processes import Program, flower_environment, run_to_end
from fedmed_server.files import private_folder, read_private, replace_private
from fedmed_server.home import Home

APP: Final = "@fedmed/fedmed-study"
"""Name under which the SuperLink asks for the bundle."""
REGISTRY: Final = "review-registry"
BUILD_S: Final = 60.0
_BUNDLE: Final = "bundle.fab"


def build_bundle(home: Home) -> bytes:
    """Build the bundle that provinces review; earlier reviews are forgotten, for they are of other bytes.

    Args:
        home: The coordinator's home, whose bundle folder is written.

    Raises:
        ProcessFailed: Flower cannot build it.
    """
    folder = private_folder(home.path / "reviews")
    for old in folder.iterdir():
        old.unlink()
    program = Program(
        name="flwr build",
        command=("flwr", "build", "--app", str(home.path / "bundle")),
        log=home.log("control"),
        environment=flower_environment(home.flower_home("cli")),
    )
    run_to_end(program, timeout_s=BUILD_S, folder=folder)
    made = sorted(folder.glob("*.fab"))
    if len(made) != 1:
        raise ProcessFailed(f"flwr build made no bundle; see {program.log}")
    made[0].rename(folder / _BUNDLE)
    (folder / _BUNDLE).chmod(0o600)
    return reviewed_bundle(home)


def reviewed_bundle(home: Home) -> bytes:
    """The bundle that provinces review.

    Raises:
        ConfigError: none was built yet.
    """
    path = home.path / "reviews" / _BUNDLE
    if not path.exists():
        raise ConfigError("there is no bundle to review: build it with fedmed server bundle")
    return read_private(path)


def add_review(home: Home, text: str) -> BundleReview:
    """Keep a province's signature.

    Raises:
        ConfigError: no bundle was built.
        MessageMalformed: the text is no review.
        SignatureInvalid: it is of another bundle, or not that key's.
    """
    review = read_review(text)
    check_review(review, reviewed_bundle(home))
    replace_private(home.path / "reviews" / f"{review.signing_key}.json", review_text(review).encode())
    return review


def reviews(home: Home) -> tuple[BundleReview, ...]:
    """All signatures under the present bundle."""
    folder = home.path / "reviews"
    files = sorted(folder.glob("*.json")) if folder.exists() else []
    return tuple(read_review(read_private(path).decode()) for path in files)


def is_reviewed(home: Home) -> bool:
    """Whether runs are started from the registry."""
    return bool(reviews(home))


def free_port() -> int:
    """A port of this machine that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def registry_program(home: Home, port: int) -> Program:
    """The registry, on loopback."""
    command = (sys.executable, "-m", "fedmed_server.reviews", str(home.path), str(port))
    return Program(name=REGISTRY, command=command, log=home.log(REGISTRY))


def registry_environment(port: int) -> dict[str, str]:
    """What sends a SuperLink to the registry instead of the vendor's."""
    return {"FLWR_SUPERGRID_API_URL": f"http://127.0.0.1:{port}"}


def registry(home: Home, port: int) -> Starlette:
    """The registry as an ASGI app: a link and signatures for one app, and its bytes."""

    async def link(request: Request) -> Response:
        try:
            asked = json.loads(await request.body()).get("app_id")
        except (ValueError, AttributeError):
            asked = None
        if asked != APP:
            return JSONResponse({"detail": {"available_app_versions": []}}, status_code=404)
        signatures = [
            {"public_key_id": r.reviewer, "signature": r.signature, "signed_at": r.signed_at}
            for r in reviews(home)
        ]
        return JSONResponse({"fab_url": f"http://127.0.0.1:{port}/bundle", "verifications": signatures})

    async def bundle(request: Request) -> Response:
        del request
        return Response(reviewed_bundle(home), media_type="application/octet-stream")

    return Starlette(
        routes=[
            Route("/hub/fetch-fab", link, methods=["POST"]),
            Route("/bundle", bundle, methods=["GET"]),
        ]
    )


def _main() -> None:
    """Serve: HOME PORT."""
    import uvicorn

    home, port = Home(Path(sys.argv[1])), int(sys.argv[2])
    uvicorn.run(registry(home, port), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    _main()
