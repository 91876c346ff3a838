"""The client of the socket: lazy, patient, and back after a restart."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from flwr.app import Context, RecordDict

from fedmed.errors import ConfigError, CustodianUnreachable
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed.types import Scheme
from fedmed_nodes.client_app import connect_by_socket
from fedmed_nodes.custodian_client import SocketCustodian
from tests.federation import make_trial
from tests.nodes.test_custodian_service import Served, office_of

FORBIDDEN = ("torch", "opacus", "tenseal", "fedmed.crypto", "fedmed.data", "pyarrow", "scipy", "sqlite3")


def test_nobody_there_is_a_code_and_nothing_connects_before_the_first_call(tmp_path: Path) -> None:
    client = SocketCustodian(tmp_path / "c.sock", patience_s=0.3)
    begun = time.monotonic()
    assert client.answer(PhaseKind.OPEN, (b"x",)) == Reply(code="custodian_unreachable")
    with pytest.raises(CustodianUnreachable, match=r"c\.sock"):
        client.budget()
    assert time.monotonic() - begun < 30


def test_a_custodian_that_was_restarted_answers_again(tmp_path: Path) -> None:
    trial = make_trial(3, scheme=Scheme.PLAIN)
    served = Served(office_of(trial), tmp_path)
    client = SocketCustodian(served.path, patience_s=5.0)
    assert client.catalogue().node == "node1"
    served.server.stop()
    again = Served(office_of(trial), tmp_path)
    assert client.catalogue().node == "node1"
    client.close()
    again.close()


def context_with(**settings: str) -> Context:
    named = {key.replace("_", "-"): value for key, value in settings.items()}
    return Context(run_id=1, node_id=1, node_config=named, state=RecordDict(), run_config={})


def test_the_relay_finds_the_socket_through_the_nodes_own_settings(tmp_path: Path) -> None:
    home = connect_by_socket(context_with(fedmed_home=str(tmp_path)))
    socket = connect_by_socket(context_with(fedmed_socket=str(tmp_path / "run" / "custodian.sock")))
    assert home is socket
    with pytest.raises(ConfigError, match="--node-config"):
        connect_by_socket(context_with())


@pytest.mark.slow
def test_the_relays_process_holds_neither_keys_nor_rows_nor_torch() -> None:
    code = (
        "import sys; from fedmed_nodes.client_app import app; assert callable(app)\n"
        f"print(*[name for name in {FORBIDDEN} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
