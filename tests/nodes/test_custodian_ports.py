"""The custodian in process and the custodian behind its socket keep one contract."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.custodian_service import CustodianServer
from fedmed_nodes.office import Office
from fedmed_nodes.socket_gate import Admission
from tests.contracts.custodian_contract import CustodianContract, Reach
from tests.federation import Node


class TestInProcess(CustodianContract):
    @pytest.fixture
    def reach(self) -> Reach:
        return lambda node: node.custodian


class TestBehindTheSocket(CustodianContract):
    @pytest.fixture
    def reach(self, tmp_path: Path) -> Iterator[Reach]:
        open_ones: list[CustodianServer | SocketCustodian] = []

        def serve(node: Node) -> SocketCustodian:
            office = Office(node.custodian, node.settings, node.effects.store)
            path = tmp_path / "run" / "custodian.sock"
            server = CustodianServer(
                office, path, inner=tmp_path / "inner", admission=Admission(owner=os.geteuid())
            )
            server.start()
            client = SocketCustodian(path, patience_s=5.0, deadline_s=30.0)
            open_ones[:] = [client, server]
            return client

        yield serve
        for one in open_ones:
            one.close() if isinstance(one, SocketCustodian) else one.stop()
