"""A federation of real processes: TLS, node authentication, process isolation, custodians on sockets.

Three of the drills of ``make drills`` run here too: SuperLink, a custodian and the ServerApp are killed, each
in another phase. They share one study, for a federation takes a minute to start; each is a subtest, so that
``pytest -v`` names them and one that fails does not hide the others.
"""

from __future__ import annotations

import json
import ssl
import subprocess

import httpx
import numpy as np
import pytest

from fedmed.phase_record import spent
from fedmed.protocol.schedule import schedule_for
from fedmed_server.local_federation import LocalFederation
from tests.drills.arena import (
    CAN_RUN,
    NODES,
    PROGRAMS,
    SERVER_APP,
    WHY_NOT,
    Strike,
    arena,
    between,
    contributed,
    in_propose,
    processes_of,
)
from tests.federation import names

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not CAN_RUN, reason=WHY_NOT)]


def spent_epsilons(running: LocalFederation) -> list[float]:
    """What each custodian's ledger says, as its operator sees it."""
    told = []
    for node in running.nodes:
        command = [str(PROGRAMS / "fedmed"), "node", "budget", str(node.home), "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        told += [study["spent_epsilon"] for study in json.loads(done.stdout)["studies"]]
    return told


def test_a_study_over_real_processes_survives_three_drills_and_leaves_nothing(
    subtests: pytest.Subtests,
) -> None:
    with arena() as field:
        _only_the_fleet_passes(field.running)
        spec = field.study()
        result = field.run(
            spec,
            Strike(target="superlink", when=in_propose),
            Strike(target="custodian", when=contributed(1)),
            Strike(target=SERVER_APP, when=between(1)),
        )
        run, aggregations = result.run, spec.training.aggregations
        assert run is not None, f"{result.code} after {result.struck}: {result.fault}"
        assert result.struck == ["superlink", "custodian", SERVER_APP]
        with subtests.test("drill: the SuperLink dies while a study is proposed, and comes back"):
            assert "superlink" in result.restarted
            assert run.contributors == (names(NODES),) * aggregations, "everybody is in every sum"
        with subtests.test("drill: a custodian dies while it contributes, and its death costs one plan"):
            assert "custodian-node1" in result.restarted
            assert aggregations <= run.plans <= aggregations + 1
            expected = spent(schedule_for(spec), run.plans)
            assert spent_epsilons(field.running) == pytest.approx([expected] * NODES, rel=1e-6)
        with subtests.test("drill: the ServerApp dies between two rounds, and its study is resumed"):
            assert result.resumed == 1
            assert np.isfinite(run.parameters).all()
        assert len(processes_of(field.running.home.path.parent)) > 4 * NODES
    # The arena has checked at its end that no process is left.


def _only_the_fleet_passes(running: LocalFederation) -> None:
    """The front door refuses the API that would let anybody submit an app."""
    trusted = ssl.create_default_context(cafile=str(running.home.authority_certificate))
    base = f"https://127.0.0.1:{running.home.addresses().port}"
    with httpx.Client(base_url=base, verify=trusted, trust_env=False) as client:
        assert client.post("/v1/control/start-run").status_code == 403
        assert client.post("/v1/runtime/acquire-task").status_code == 403
        assert client.get("/openapi.json").status_code == 403
        # Passed on, and refused by the SuperLink: it is no SuperNode's message.
        assert client.post("/v1/fleet/pull-messages").status_code in (401, 415, 422)
