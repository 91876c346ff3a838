"""The gRPC service: its methods, limits and silence; 200 callers at once; an end that loses nothing."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import grpc
import psutil
import pytest

from fedmed import socket_wire
from fedmed.errors import CustodianUnreachable, StudyUnknown
from fedmed.proto.v1 import custodian_pb2
from fedmed.protocol.schedule import schedule_for
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed.socket_messages import Piece, StudyStanding
from fedmed.types import Scheme
from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.custodian_service import CustodianServer, Limits
from fedmed_nodes.office import Office
from fedmed_nodes.pieces import CUSTODIAN_SERVICE, METHODS, OPERATOR_SERVICE
from fedmed_nodes.socket_gate import Admission
from tests.federation import OPEN_POLICY, Trial, fresh_federation, make_trial, small_study

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

ROW_TEXT = "patient 1234567 had C50.9"


class Served:
    """An office on a socket, and clients of it."""

    def __init__(self, office: Office, folder: Path, limits: Limits | None = None) -> None:
        self.path = folder / "run" / "c.sock"
        self.inner = folder / "inner"
        self.server = CustodianServer(
            office, self.path, inner=self.inner, admission=Admission(owner=os.geteuid()), limits=limits
        )
        self.server.start()
        self._clients: list[SocketCustodian] = []

    def client(self, path: Path | None = None, **settings: float) -> SocketCustodian:
        client = SocketCustodian(path or self.path, **{"patience_s": 10.0, "deadline_s": 30.0, **settings})
        self._clients.append(client)
        return client

    def close(self) -> None:
        for client in self._clients:
            client.close()
        self.server.stop()


def office_of(trial: Trial, point: int = 1) -> Office:
    node = trial.federation.nodes[point]
    return Office(node.custodian, node.settings, node.effects.store)


class StubbedOffice(Office):
    """An office whose answer a test decides: slow, large or broken."""

    def __init__(self, answer: Reply | Exception, seconds: float = 0.0) -> None:
        self._answer, self._seconds = answer, seconds
        self.answered = 0
        self.asked = threading.Event()

    def answer(self, kind: PhaseKind, parts: Sequence[bytes]) -> Reply:
        self.asked.set()
        time.sleep(self._seconds)
        if isinstance(self._answer, Exception):
            raise self._answer
        self.answered += 1
        return self._answer

    def approve(self, study_digest: bytes) -> None:
        raise RuntimeError(ROW_TEXT)


@pytest.fixture(scope="module")
def trial() -> Trial:
    return make_trial(3, scheme=Scheme.PLAIN)


@pytest.fixture
def served(trial: Trial, tmp_path: Path) -> Iterator[Served]:
    made = Served(office_of(trial), tmp_path)
    yield made
    made.close()


def test_methods_are_those_of_the_proto() -> None:
    services = custodian_pb2.DESCRIPTOR.services_by_name
    typed = {m.name for m in services["Custodian"].methods}
    assert typed == {*METHODS.values(), "Describe"}
    assert set(METHODS) == set(PhaseKind)
    assert services["Custodian"].full_name == CUSTODIAN_SERVICE
    assert services["Operator"].full_name == OPERATOR_SERVICE
    for method in services["Custodian"].methods:
        streams = method.name != "Describe"
        assert (method.client_streaming, method.server_streaming) == (streams, streams)


def test_the_catalogue_holds_public_facts(trial: Trial, served: Served) -> None:
    catalogue = served.client().catalogue()
    assert catalogue.node == "node1"
    assert catalogue.roster_digest == trial.federation.roster_digest
    assert [card.declared_persons for card in catalogue.datasets] == [10]


def test_the_operator_sees_budget_and_log(served: Served) -> None:
    client = served.client()
    (study,) = client.budget().studies
    assert study.standing is StudyStanding.RESERVED
    assert study.spent_epsilon == 0 < study.reserved_epsilon <= 1.0
    assert len(client.audit(1)) == 1
    assert client.audit()[-1:] == client.audit(1)


def test_an_operators_yes_reaches_the_custodian(tmp_path: Path) -> None:
    spec = small_study(3, scheme=Scheme.PLAIN)
    allowance = schedule_for(spec).allowance
    federation = fresh_federation(
        3,
        threshold=allowance.threshold,
        colluders=allowance.colluders,
        policy=replace(OPEN_POLICY, auto_approve=False),
    )
    trial = Trial(federation, spec)
    served = Served(office_of(trial), tmp_path)
    try:
        client = served.client()
        assert client.answer(PhaseKind.PROPOSE, (trial.proposal(),)).code == "approval_pending"
        assert client.budget().studies[0].standing is StudyStanding.WAITING
        client.approve(trial.digest)
        assert client.budget().studies[0].standing is StudyStanding.APPROVED
        assert not client.answer(PhaseKind.PROPOSE, (trial.proposal(),)).is_refusal
        assert client.budget().studies[0].standing is StudyStanding.RESERVED
        with pytest.raises(StudyUnknown):
            client.approve(bytes(32))
    finally:
        served.close()


def test_the_operators_methods_do_not_exist_for_the_relay(served: Served) -> None:
    relay = served.client(served.inner / "relay.sock")
    assert relay.catalogue().node == "node1"
    for call in (relay.budget, relay.audit, lambda: relay.approve(bytes(32))):
        with pytest.raises(CustodianUnreachable, match="does not know this call"):
            call()


def test_a_text_never_crosses_the_socket(tmp_path: Path) -> None:
    served = Served(StubbedOffice(RuntimeError(ROW_TEXT)), tmp_path)
    try:
        channel = grpc.insecure_channel(f"unix:{served.path}")
        for name in METHODS.values():
            replies = list(channel.stream_stream(f"/{CUSTODIAN_SERVICE}/{name}")(iter([]), timeout=60))
            assert [socket_wire.decode_reply_piece(r) for r in replies] == ["fedmed_error"]
        answer = channel.unary_unary(f"/{OPERATOR_SERVICE}/Approve")(
            socket_wire.encode_study(bytes(32)), timeout=10
        )
        assert b"fedmed_error" in answer
        for name in ("Budget", "AuditTail"):  # this office has no store: another fault that nobody foresaw
            method = channel.unary_stream if name == "AuditTail" else channel.unary_unary
            reply = method(f"/{OPERATOR_SERVICE}/{name}")(b"", timeout=60)
            whole = b"".join(reply) if name == "AuditTail" else reply
            assert b"fedmed_error" in whole
        channel.close()
    finally:
        served.close()


def test_two_hundred_callers_at_once_are_answered(served: Served) -> None:
    ready = threading.Barrier(200, timeout=30)

    def call(_: int) -> str:
        client = SocketCustodian(served.path, patience_s=30.0, deadline_s=30.0)
        ready.wait()
        try:
            return client.answer(PhaseKind.OPEN, (b"x", b"y")).code
        finally:
            client.close()

    with ThreadPoolExecutor(200) as pool:
        assert set(pool.map(call, range(200))) == {"message_malformed"}


def test_too_many_bytes_under_way_are_turned_away_and_given_back(tmp_path: Path, trial: Trial) -> None:
    served = Served(office_of(trial), tmp_path, Limits(most_bytes=1_000_000))
    try:
        client = served.client(patience_s=0.5)
        assert client.answer(PhaseKind.OPEN, (bytes(1_000_001),)).code == "custodian_busy"
        for _ in range(3):
            assert client.answer(PhaseKind.OPEN, (bytes(900_000),)).code == "message_malformed"
    finally:
        served.close()


def test_a_caller_that_dawdles_is_cut_off(tmp_path: Path, trial: Trial) -> None:
    served = Served(office_of(trial), tmp_path, Limits(transfer_s=0.3))
    try:
        end = threading.Event()

        def drip() -> Iterator[bytes]:
            yield socket_wire.encode_piece(Piece(data=b"x", ends_part=True))
            end.wait(90)

        channel = grpc.insecure_channel(f"unix:{served.path}")
        begun = time.monotonic()
        with pytest.raises(grpc.RpcError):
            list(channel.stream_stream(f"/{CUSTODIAN_SERVICE}/Open")(drip(), timeout=60))
        assert time.monotonic() - begun < 30
        end.set()
        channel.close()
    finally:
        served.close()


def test_a_frame_above_the_limit_is_refused(served: Served) -> None:
    channel = grpc.insecure_channel(f"unix:{served.path}")
    with pytest.raises(grpc.RpcError) as fault:
        list(channel.stream_stream(f"/{CUSTODIAN_SERVICE}/Open")(iter([bytes(2 << 20)]), timeout=60))
    assert fault.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    channel.close()


def test_stopping_lets_a_message_under_way_finish(tmp_path: Path) -> None:
    office = StubbedOffice(Reply(parts=(b"done",)), seconds=0.5)
    served = Served(office, tmp_path)
    client = served.client()
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.answer, PhaseKind.CONTRIBUTE, (b"x",))
        assert office.asked.wait(30)
        served.server.stop()
        assert answer.result() == Reply(parts=(b"done",))
    assert not served.path.exists()
    client.close()


@pytest.mark.slow
def test_malformed_streams_over_the_socket_leave_memory_bounded(served: Served) -> None:
    dice = random.Random(20260302)
    channel = grpc.insecure_channel(f"unix:{served.path}")
    methods = [channel.stream_stream(f"/{CUSTODIAN_SERVICE}/{name}") for name in METHODS.values()]
    good = socket_wire.encode_piece(Piece(data=b"step", ends_part=True))

    def storm(count: int) -> None:
        for number in range(count):
            frames = [dice.randbytes(dice.randrange(200)) for _ in range(dice.randrange(1, 4))]
            frames.insert(dice.randrange(2), good)
            replies = methods[number % len(methods)](iter(frames), timeout=60)
            codes = [socket_wire.decode_reply_piece(reply) for reply in replies]
            assert len(codes) == 1
            assert isinstance(codes[0], str)

    storm(200)
    before = psutil.Process().memory_info().rss
    storm(1_000)
    assert psutil.Process().memory_info().rss - before < 64 << 20
    channel.close()
    assert served.client().catalogue().node == "node1"
