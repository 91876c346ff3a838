"""A hundred thousand hostile inputs through the real socket of a real daemon: no crash, bounded memory."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import psutil
import pytest

from fedmed import socket_wire
from fedmed.errors import all_errors
from fedmed.socket_messages import Piece
from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.pieces import CUSTODIAN_SERVICE, METHODS, OPERATOR_SERVICE, split_parts
from tests.federation import make_trial
from tests.node_home import make_home, running

pytestmark = [pytest.mark.slow, pytest.mark.drill]

INPUTS, WARM_UP, CALLERS, SEED = 100_000, 10_000, 8, 20_261_122
MOST_GROWTH_BYTES = 96 << 20
UNARY = (f"/{CUSTODIAN_SERVICE}/Describe", f"/{OPERATOR_SERVICE}/Approve", f"/{OPERATOR_SERVICE}/Budget")
PHASES = tuple(f"/{CUSTODIAN_SERVICE}/{name}" for name in METHODS.values())

Mutate = Callable[[random.Random, bytes], bytes]


def flipped(dice: random.Random, data: bytes) -> bytes:
    at, changed = dice.randrange(max(1, len(data))), bytearray(data or b"\0")
    changed[at] ^= 1 << dice.randrange(8)
    return bytes(changed)


def cut(dice: random.Random, data: bytes) -> bytes:
    return data[: dice.randrange(len(data) + 1)]


def spliced(dice: random.Random, data: bytes) -> bytes:
    at = dice.randrange(len(data) + 1)
    return data[:at] + dice.randbytes(dice.randrange(1, 40)) + data[at:]


def noise(dice: random.Random, data: bytes) -> bytes:
    return dice.randbytes(dice.randrange(300))


def long_length(dice: random.Random, data: bytes) -> bytes:
    """A field that says it is up to four gigabytes long."""
    return bytes([dice.randrange(1, 16) << 3 | 2]) + b"\xff\xff\xff\xff" + bytes([dice.randrange(16)]) + data


def nested(dice: random.Random, data: bytes) -> bytes:
    """A message in a message in a message."""
    found = data[:20]
    for _ in range(dice.randrange(40, 120)):
        found = b"\x0a" + (bytes([len(found)]) if len(found) < 128 else b"\xff\x01") + found
    return found


def doubled(dice: random.Random, data: bytes) -> bytes:
    return data + data


MUTATIONS: tuple[Mutate, ...] = (flipped, cut, spliced, noise, long_length, nested, doubled)


def honest_messages() -> list[bytes]:
    """Signed messages of a real study: what a mutation begins with."""
    trial = make_trial(4)
    attempt = trial.begin(1, points=(1, 2, 3))
    request = trial.request(attempt, 1, contributors=(1, 2, 3), openers=(1, 2, 3))
    return [trial.proposal(), attempt.plan, trial.inputs, attempt.headers((1,))[0], *request]


def inputs_of(seed: int, count: int, honest: list[bytes]) -> Iterator[tuple[str, list[bytes]]]:
    """Method and frames of each input; most die at the first frame, some carry a message into a phase."""
    dice = random.Random(seed)
    for _ in range(count):
        seeds = dice.sample(honest, dice.randrange(1, 3))
        broken = [dice.choice(MUTATIONS)(dice, data) for data in seeds]
        if dice.random() < 0.03:  # well-formed frames around a malformed message
            yield dice.choice(PHASES), [socket_wire.encode_piece(p) for p in split_parts(broken)]
        elif dice.random() < 0.4:
            yield dice.choice(UNARY), broken[:1]
        else:
            whole = socket_wire.encode_piece(Piece(data=broken[0][:1000] or b"x", ends_part=True))
            yield dice.choice(PHASES), [whole] * dice.randrange(2) + [dice.choice(MUTATIONS)(dice, whole)]


def storm(socket: Path, seed: int, count: int, honest: list[bytes]) -> set[str]:
    """Send inputs over one connection; the codes that came back, with gRPC's own."""
    codes: set[str] = set()
    with grpc.insecure_channel(f"unix:{socket}") as channel:
        for method, frames in inputs_of(seed, count, honest):
            try:
                if method in UNARY:
                    channel.unary_unary(method)(frames[0], timeout=60)
                    continue
                for reply in channel.stream_stream(method)(iter(frames), timeout=60):
                    told = socket_wire.decode_reply_piece(reply)
                    codes.add(told if isinstance(told, str) else "answered")
            except grpc.RpcError as fault:
                codes.add(fault.code().name)
    return codes


@pytest.fixture
def home() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fm"))
    make_home(folder / "home")
    yield folder / "home"
    shutil.rmtree(folder)


def test_a_hundred_thousand_malformed_inputs_leave_the_custodian_well(home: Path) -> None:
    honest, path = honest_messages(), home / "run" / "custodian.sock"

    def storms(first: int, count: int) -> set[str]:
        with ThreadPoolExecutor(CALLERS) as pool:
            each = count // CALLERS
            parts = [pool.submit(storm, path, SEED + first + i, each, honest) for i in range(CALLERS)]
            return set().union(*(part.result() for part in parts))

    with running(home) as process:
        seen = psutil.Process(process.pid)
        codes = storms(0, WARM_UP)
        before = seen.memory_info().rss
        codes |= storms(CALLERS, INPUTS - WARM_UP)
        growth = seen.memory_info().rss - before
        assert growth < MOST_GROWTH_BYTES, f"{growth / 2**20:.0f} MiB more after {INPUTS} inputs"
        assert "answered" not in codes, "a malformed message was answered"
        assert codes <= {*all_errors(), "RESOURCE_EXHAUSTED", "CANCELLED", "UNKNOWN"}, codes
        assert "fedmed_error" not in codes, "an input met code that had not foreseen it"
        client = SocketCustodian(path)
        assert client.catalogue().node == "node1"
        assert client.budget().studies == ()
        client.close()
        assert process.poll() is None
