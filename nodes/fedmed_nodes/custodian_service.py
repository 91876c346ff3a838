"""The custodian behind gRPC on a unix socket: limits, deadlines, health, and codes instead of texts.

Methods are generic handlers over bytes, not generated stubs: `fedmed.socket_wire` reads every message with
the checks of `fedmed.wire` (unknown fields refused), what does not parse gets a code like any other
refusal, and protobuf keeps one door. That the methods are those of ``custodian.proto`` is tested.

The relay and the operator get a server each, on a socket of its own behind `SocketGate`: the methods of the
operator do not exist on the relay's server, so no check can be forgotten.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from fedmed import socket_wire
from fedmed.errors import CustodianBusy, FedMedError, StoreFailed
from fedmed.governance.audit_chain import AuditKind
from fedmed.protocol.steps import PhaseKind
from fedmed_nodes.notes import Notes
from fedmed_nodes.office import Office
from fedmed_nodes.pieces import (
    CUSTODIAN_SERVICE,
    FRAME_BYTES,
    METHODS,
    OPERATOR_SERVICE,
    join_pieces,
    split_reply,
)
from fedmed_nodes.socket_gate import Admission, Backends, SocketGate, listen, prepare_place

# grpc ships no types: its contexts, handlers and servers are `Any` in this module.
Context = Any
Method = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What callers may use up; nothing here touches privacy.

    Attributes:
        most_calls: Relayed messages at one time; each holds a thread.
        most_connections: Open connections at one time.
        most_bytes: Bytes of requests that are being received, over all calls.
        transfer_s: Seconds in which a request must arrive, and in which a reply must be taken.
        grace_s: Seconds that messages under way get when the service stops.
    """

    most_calls: int = 32
    most_connections: int = 256
    most_bytes: int = 1 << 29
    transfer_s: float = 120.0
    grace_s: float = 20.0


class CustodianServer:
    """Serves an office on a unix socket.

    Guarantees:
        Only callers whom `Admission` names are heard. A refusal and a fault leave as a code, never as a
        text. Requests hold at most ``limits.most_bytes``. ``grpc.health.v1`` says SERVING between `start`
        and `stop`, to the operator and to the relay. `stop` lets messages under way finish.
    """

    def __init__(
        self,
        office: Office,
        path: Path,
        *,
        inner: Path,
        admission: Admission,
        limits: Limits | None = None,
    ) -> None:
        """Prepare; `start` opens the socket.

        Args:
            office: What is served.
            path: The socket that others reach.
            inner: Folder for gRPC's own sockets, made with mode 0700.
            admission: Who may call.
            limits: What they may use up.
        """
        self._office = office
        self._path = path
        self._inner = inner
        self._admission = admission
        self._limits = limits or Limits()
        self._health = health.HealthServicer()
        self._servers: list[Any] = []
        self._gate: SocketGate | None = None

    def start(self, *, notes: Notes | None = None) -> None:
        """Open the socket and serve.

        Args:
            notes: Gets callers who were turned away, faults that no audit entry tells of, and what the
                operator read; None forgets them.

        Raises:
            ConfigError, StoreFailed: the socket cannot be opened as it should be.
        """
        backends = Backends(relay=self._inner / "relay.sock", operator=self._inner / "operator.sock")
        kept, quota = notes or Notes(), _Quota(self._limits.most_bytes)
        relay = _relay_handler(self._office, self._limits, quota=quota, notes=kept)
        self._serve(backends.relay, [relay])
        self._serve(backends.operator, [relay, _operator_handler(self._office, kept)])
        for service in ("", CUSTODIAN_SERVICE, OPERATOR_SERVICE):
            self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self._gate = SocketGate(
            listen(self._path, group=self._admission.group),
            backends,
            admission=self._admission,
            most_connections=self._limits.most_connections,
            on_refusal=lambda caller: kept.add(AuditKind.CALLER_REFUSED, detail=f"user {caller.uid}"),
        )
        self._gate.start()

    def _serve(self, path: Path, handlers: list[Any]) -> None:
        """One gRPC server on a socket that only the custodian's user reaches."""
        calls = self._limits.most_calls
        server = grpc.server(
            ThreadPoolExecutor(max_workers=calls, thread_name_prefix="custodian"),
            maximum_concurrent_rpcs=calls,
            options=[
                ("grpc.max_receive_message_length", FRAME_BYTES),
                ("grpc.max_send_message_length", FRAME_BYTES),
                ("grpc.max_concurrent_streams", calls),
                ("grpc.so_reuseport", 0),
            ],
        )
        server.add_generic_rpc_handlers(handlers)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        prepare_place(path, group=None)
        try:
            server.add_insecure_port(f"unix:{path}")
        except RuntimeError as error:
            raise StoreFailed(f"socket {path} cannot be opened; look at its folder") from error
        server.start()
        self._servers.append(server)

    def stop(self) -> None:
        """Say NOT_SERVING, take nothing new, let messages under way finish, close."""
        self._health.enter_graceful_shutdown()
        for stopping in [server.stop(self._limits.grace_s) for server in self._servers]:
            stopping.wait()
        if self._gate is not None:
            self._gate.stop()
        with suppress(OSError):
            self._path.unlink()


class _Quota:
    """Bytes of requests under way; what does not fit is turned away, not kept waiting."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Whether ``size`` more bytes may be kept."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Let go of bytes."""
        with self._lock:
            self._left += size


class _Share:
    """What one call took of the quota."""

    def __init__(self, quota: _Quota) -> None:
        self._quota, self._taken = quota, 0

    def take(self, size: int) -> None:
        """Take more; raises `CustodianBusy`."""
        if not self._quota.take(size):
            raise CustodianBusy("too many bytes of requests are under way; try again")
        self._taken += size

    def release(self) -> None:
        """Give everything back."""
        self._quota.give_back(self._taken)
        self._taken = 0


def _relay_handler(office: Office, limits: Limits, *, quota: _Quota, notes: Notes) -> Any:
    """The service Custodian."""
    methods = {
        name: grpc.stream_stream_rpc_method_handler(
            _phase(office, kind, limits=limits, quota=quota, notes=notes)
        )
        for kind, name in METHODS.items()
    }

    def describe(request: bytes) -> bytes:
        socket_wire.decode_nothing(request)
        return socket_wire.encode_catalogue(office.catalogue())

    methods["Describe"] = _unary("Describe", describe, notes)
    return grpc.method_handlers_generic_handler(CUSTODIAN_SERVICE, methods)


def _operator_handler(office: Office, notes: Notes) -> Any:
    """The service Operator; what its callers read is noted."""

    def review(request: bytes) -> bytes:
        answer = socket_wire.encode_review(office.review(socket_wire.decode_study(request)))
        notes.add(AuditKind.READ, detail="study")
        return answer

    def approve(request: bytes) -> bytes:
        office.approve(socket_wire.decode_study(request))
        return socket_wire.encode_done()

    def revoke(request: bytes) -> bytes:
        office.revoke(socket_wire.decode_study(request))
        return socket_wire.encode_done()

    def act(request: bytes) -> bytes:
        return socket_wire.encode_act_outcome(office.act(*socket_wire.decode_act(request)))

    def budget(request: bytes) -> bytes:
        socket_wire.decode_nothing(request)
        answer = socket_wire.encode_budget(office.budget())
        notes.add(AuditKind.READ, detail="budget")
        return answer

    def audit_tail(request: bytes, _context: Context) -> Iterator[bytes]:
        try:
            entries = office.audit(socket_wire.decode_audit_tail(request))
        except Exception as fault:
            yield socket_wire.encode_refusal("AuditTail", _noted(fault, "AuditTail", notes))
            return
        notes.add(AuditKind.READ, detail="log")
        yield from (socket_wire.encode_audit_entry(entry) for entry in entries)

    methods = {
        "Review": _unary("Review", review, notes),
        "Approve": _unary("Approve", approve, notes),
        "Revoke": _unary("Revoke", revoke, notes),
        "Act": _unary("Act", act, notes),
        "Budget": _unary("Budget", budget, notes),
        "AuditTail": grpc.unary_stream_rpc_method_handler(audit_tail),
    }
    return grpc.method_handlers_generic_handler(OPERATOR_SERVICE, methods)


def _unary(name: str, method: Method, notes: Notes) -> Any:
    """A method of one question and one answer; whatever it raises leaves as a code, and is noted."""

    def handle(request: bytes, _context: Context) -> bytes:
        try:
            return method(request)
        except Exception as fault:  # gRPC would send its text
            return socket_wire.encode_refusal(name, _noted(fault, name, notes))

    return grpc.unary_unary_rpc_method_handler(handle)


def _phase(
    office: Office, kind: PhaseKind, *, limits: Limits, quota: _Quota, notes: Notes
) -> Callable[[Iterable[bytes], Context], Iterator[bytes]]:
    """One phase: pieces in, answer, pieces out; in bounded time at both ends and bounded memory."""

    def handle(requests: Iterable[bytes], context: Context) -> Iterator[bytes]:
        share = _Share(quota)
        try:
            with _time_limit(context, limits.transfer_s):
                parts = join_pieces(map(socket_wire.decode_piece, requests), take=share.take)
            reply = office.answer(kind, parts)
            del parts
        except Exception as fault:  # a broken stream ends here too: nobody hears the code then
            yield socket_wire.encode_refusal(METHODS[kind], _noted(fault, METHODS[kind], notes))
            return
        finally:
            share.release()
        with _time_limit(context, limits.transfer_s):
            yield from map(socket_wire.encode_reply_piece, split_reply(reply))

    return handle


def code_of(fault: Exception) -> str:
    """The code of an error; of one that nobody foresaw the generic code, since its text may hold a value."""
    return fault.code if isinstance(fault, FedMedError) else FedMedError.code


def _noted(fault: Exception, method: str, notes: Notes) -> str:
    """The code of an error that the custodian's own log does not tell of; a note of it."""
    notes.add(AuditKind.ERROR, code=code_of(fault), detail=method)
    return code_of(fault)


@contextmanager
def _time_limit(context: Context, seconds: float) -> Iterator[None]:
    """End the call when this block takes longer: a caller that dawdles must not hold a thread."""
    timer = threading.Timer(seconds, context.cancel)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
