"""The custodian as seen from the other end of its socket: for the relay, and for the operator's commands.

It loads neither keys nor data nor torch: Flower starts a process with it for every message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import grpc

from fedmed import socket_wire
from fedmed.errors import CustodianBusy, CustodianUnreachable, FedMedError
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed.socket_messages import ActOutcome, Budget, Catalogue, StudyReview
from fedmed_nodes.pieces import (
    CUSTODIAN_SERVICE,
    FRAME_BYTES,
    METHODS,
    OPERATOR_SERVICE,
    join_reply,
    split_parts,
)

T = TypeVar("T")

_OPTIONS: Final = (
    ("grpc.max_receive_message_length", FRAME_BYTES),
    ("grpc.max_send_message_length", FRAME_BYTES),
    ("grpc.enable_retries", 0),  # gRPC's own would keep a copy of every piece
    ("grpc.enable_http_proxy", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.use_local_subchannel_pool", 1),
)
_BUSY_PAUSE_S: Final = 0.2
# An empty HealthCheckRequest asks for the whole server; the answer has one field, status = 1 (SERVING).
_HEALTH_CHECK: Final = "/grpc.health.v1.Health/Check"
_SERVING: Final = b"\x08\x01"


class SocketCustodian:
    """A `CustodianPort` over a unix socket.

    Guarantees:
        Nothing connects before the first call. A custodian that is not there, not ours to call, or gone in
        the middle gives the code ``custodian_unreachable``; asked again after a restart, it answers.
    """

    def __init__(self, path: Path, *, patience_s: float = 20.0, deadline_s: float = 3_600.0) -> None:
        """Name the socket.

        Args:
            path: The custodian's socket.
            patience_s: How long to wait for a custodian that starts or has no thread free.
            deadline_s: How long one message may take in all; an answer takes as long as the training does.
        """
        self._path = path
        self._patience_s = patience_s
        self._deadline_s = deadline_s
        self._channel: Any = None  # grpc ships no types

    def answer(self, kind: PhaseKind, parts: Sequence[bytes]) -> Reply:
        """See `fedmed_nodes.client_app.CustodianPort.answer`."""
        try:
            return self._patiently(lambda: self._exchange(kind, parts))
        except FedMedError as error:
            return Reply(code=error.code)

    def catalogue(self) -> Catalogue:
        """The public catalogue; raises what the custodian's code names, or `CustodianUnreachable`."""
        request = socket_wire.encode_nothing()
        return socket_wire.decode_catalogue(self._ask(CUSTODIAN_SERVICE, "Describe", request))

    def review(self, study_digest: bytes) -> StudyReview:
        """A study as its approver should see it; for the operator."""
        request = socket_wire.encode_study(study_digest)
        return socket_wire.decode_review(self._ask(OPERATOR_SERVICE, "Review", request))

    def approve(self, study_digest: bytes) -> None:
        """Approve a study without a signature, as the operator; raises what the custodian's code names."""
        request = socket_wire.encode_study(study_digest)
        socket_wire.decode_done(self._ask(OPERATOR_SERVICE, "Approve", request))

    def revoke(self, study_digest: bytes) -> None:
        """Withdraw a study for good, as `approve`."""
        request = socket_wire.encode_study(study_digest)
        socket_wire.decode_done(self._ask(OPERATOR_SERVICE, "Revoke", request))

    def act(self, body: bytes, signature: bytes) -> ActOutcome:
        """Hand over a signed act; raises what the custodian's code names."""
        request = socket_wire.encode_act(body, signature)
        return socket_wire.decode_act_outcome(self._ask(OPERATOR_SERVICE, "Act", request))

    def budget(self) -> Budget:
        """What is reserved, spent and left; for the operator."""
        request = socket_wire.encode_nothing()
        return socket_wire.decode_budget(self._ask(OPERATOR_SERVICE, "Budget", request))

    def audit(self, last: int | None = None) -> tuple[bytes, ...]:
        """The audit chain, or its ``last`` entries, as they were signed; for the operator."""
        request = socket_wire.encode_audit_tail(last)

        def read() -> tuple[bytes, ...]:
            method = self._open().unary_stream(f"/{OPERATOR_SERVICE}/AuditTail")
            replies = method(request, timeout=self._deadline_s)
            return tuple(socket_wire.decode_audit_entry(reply) for reply in replies)

        return self._patiently(read)

    def close(self) -> None:
        """Close the connection; the next call opens it again."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()

    def _exchange(self, kind: PhaseKind, parts: Sequence[bytes]) -> Reply:
        """Send the parts and read the reply, both in pieces."""
        method = self._open().stream_stream(f"/{CUSTODIAN_SERVICE}/{METHODS[kind]}")
        pieces: Iterator[bytes] = map(socket_wire.encode_piece, split_parts(parts))
        replies: Iterable[bytes] = method(pieces, timeout=self._deadline_s)
        reply = join_reply(map(socket_wire.decode_reply_piece, replies))
        if reply.code == CustodianBusy.code:
            raise CustodianBusy(f"the custodian at {self._path} has no memory free; try again")
        return reply

    def _ask(self, service: str, name: str, request: bytes) -> bytes:
        """One question, one answer."""

        def ask() -> bytes:
            answer: bytes = self._open().unary_unary(f"/{service}/{name}")(request, timeout=self._deadline_s)
            return answer

        return self._patiently(ask)

    def _open(self) -> Any:
        """The channel, connected to a custodian that serves.

        One health check (2 ms) before each call: gRPC would either give up at once on a custodian that is
        just starting, or wait for one that never comes as long as the call itself may take.
        """
        if self._channel is None:
            self._channel = grpc.insecure_channel(f"unix:{self._path}", options=_OPTIONS)
        try:
            health = self._channel.unary_unary(_HEALTH_CHECK)
            answer = health(b"", timeout=self._patience_s, wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise  # all threads are taken: `_patiently` asks again
            self.close()
            raise self._unreachable("nobody answers there, or this user may not call") from None
        if answer != _SERVING:
            raise self._unreachable("it is stopping")
        return self._channel

    def _patiently(self, call: Callable[[], T]) -> T:
        """Call, and call again while the custodian says that it has no thread or memory free."""
        last = time.monotonic() + self._patience_s
        while True:
            try:
                return call()
            except CustodianBusy:
                if time.monotonic() >= last:
                    raise
            except grpc.RpcError as error:
                fault = self._fault(error.code())
                if not isinstance(fault, CustodianBusy) or time.monotonic() >= last:
                    raise fault from None
            time.sleep(_BUSY_PAUSE_S)

    def _fault(self, status: grpc.StatusCode) -> CustodianUnreachable:
        """What a status of gRPC means here."""
        if status is grpc.StatusCode.RESOURCE_EXHAUSTED:
            return CustodianBusy(f"the custodian at {self._path} has no thread free; try again")
        if status is grpc.StatusCode.UNIMPLEMENTED:
            return self._unreachable("it does not know this call from this user; ask its operator")
        return self._unreachable("it went away in the middle, or took too long")

    def _unreachable(self, why: str) -> CustodianUnreachable:
        """The error, with the socket that was tried."""
        return CustodianUnreachable(f"no custodian at {self._path}: {why}")
