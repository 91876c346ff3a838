"""What every way to a custodian must do: in process, or behind its socket.

A trial (tests/federation.py) is a study that four custodians accepted; the fixture ``reach`` gives the way
under test to one of them.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fedmed import wire
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed_nodes.client_app import CustodianPort
from tests.federation import Node, Trial, make_trial

Reach = Callable[[Node], CustodianPort]


class CustodianContract:
    """Inherit and define the fixture ``reach``."""

    @pytest.fixture
    def trial(self) -> Trial:
        return make_trial(4)

    def test_a_whole_round_gives_the_sums_of_the_custodians_themselves(
        self, trial: Trial, reach: Reach
    ) -> None:
        port = reach(trial.federation.nodes[1])
        plan = trial.plan()
        own = port.answer(PhaseKind.CONTRIBUTE, (plan, trial.inputs))
        others = [trial.contribute(point, plan) for point in (2, 3, 4)]
        contributions = {1: own.parts, **dict(zip((2, 3, 4), others, strict=True))}
        headers = tuple(parts[0] for parts in contributions.values())
        answers = []
        for point in (1, 2, 3):
            request = self.opening(trial, plan, headers, receiver=point)
            node = trial.federation.nodes[point]
            asked = port if point == 1 else node.custodian
            answers.append(asked.answer(PhaseKind.OPEN, request).parts)
        assert trial.combine(list(contributions.values()), answers).size == trial.schedule.layout.values

    @staticmethod
    def opening(
        trial: Trial, plan: bytes, headers: tuple[bytes, ...], *, receiver: int
    ) -> tuple[bytes, bytes]:
        from tests.federation import Attempt

        attempt = Attempt(plan=plan, contributions={p: (h,) for p, h in enumerate(headers, start=1)})
        return trial.request(attempt, receiver, contributors=(1, 2, 3, 4), openers=(1, 2, 3))

    def test_the_same_message_again_gets_the_same_bytes(self, trial: Trial, reach: Reach) -> None:
        port, plan = reach(trial.federation.nodes[2]), trial.plan()
        first = port.answer(PhaseKind.CONTRIBUTE, (plan, trial.inputs))
        assert not first.is_refusal
        assert port.answer(PhaseKind.CONTRIBUTE, (plan, trial.inputs)) == first

    def test_every_phase_is_answered_and_a_refusal_is_a_code(self, trial: Trial, reach: Reach) -> None:
        port = reach(trial.federation.nodes[3])
        for kind in PhaseKind:
            for parts in ((), (b"",), (b"", b"x"), (b"\xff" * 70,) * 2):
                assert port.answer(kind, parts).code in ("message_malformed", "ceremony_stopped")

    def test_a_fault_that_nobody_foresaw_leaves_as_a_code(self, trial: Trial, reach: Reach) -> None:
        node = trial.federation.nodes[4]
        port = reach(node)
        node.effects.store.close()
        assert port.answer(PhaseKind.PROPOSE, (trial.proposal(),)) == Reply(code="store_failed")

    def test_a_nonce_comes_back_signed(self, trial: Trial, reach: Reach) -> None:
        port = reach(trial.federation.nodes[1])
        reply = port.answer(PhaseKind.PROPOSE, (trial.proposal(),))
        (signed,) = reply.parts
        assert wire.decode_signed(signed).type == "nonce"

    def test_messages_of_several_mebibytes_pass(self, trial: Trial, reach: Reach) -> None:
        port = reach(trial.federation.nodes[1])
        reply = port.answer(PhaseKind.CONTRIBUTE, (trial.plan(), bytes(5_000_001)))
        assert reply.code == "inputs_mismatch"
