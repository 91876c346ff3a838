"""A real study of four provinces, run once, and the release that its coordinator would make of it."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from safetensors.numpy import save

from fedmed.outcome import FederatedRun, deployed_result
from fedmed.phase_record import spent
from fedmed.plans.training import model_of
from fedmed.protocol.steps import Phase, Reply
from fedmed.release.bundle import Material, make_bundle
from fedmed.release.exchange import witnessed
from fedmed.release.payloads import retained
from fedmed.study import canonical_bytes
from fedmed.types import Scheme
from fedmed_server.study_flow import StudyRun, StudyState, conduct
from tests.federation import COORDINATOR, NOW, fresh_federation, identity_of, small_study

ENDED = NOW + datetime.timedelta(minutes=5)


class Kept:
    """What a coordinator keeps of each round's sum: that of the last attempt."""

    def __init__(self) -> None:
        self._rounds = 0
        self._by_round: dict[int, Mapping[str, bytes]] = {}

    def on_state(self, state: StudyState) -> None:
        self._rounds = len(state.rounds)

    def retain(self, payloads: Mapping[str, bytes]) -> None:
        self._by_round[self._rounds + 1] = payloads

    @property
    def payloads(self) -> dict[str, bytes]:
        return {name: data for held in self._by_round.values() for name, data in held.items()}


def run_material(
    *, scheme: Scheme = Scheme.THRESHOLD, lose: Callable[..., Any] | None = None, **changes: Any
) -> Material:
    """Run the small study with real custodians and keep what a release is made of."""
    spec = small_study(4, scheme=scheme, **changes)
    federation, lines = fresh_federation(4), []
    run = StudyRun(spec=spec, identity=identity_of(COORDINATOR), roster=federation.roster, today=NOW.date())
    kept = Kept()
    steps = retained(conduct(run, on_state=kept.on_state), kept.retain, scheme=scheme)
    steps = witnessed(steps, lambda exchange: lines.append(exchange.to_line()))

    def garble(phase: Phase, point: int, reply: Reply) -> Reply | None:
        return reply if lose is None else lose(phase, point, reply)

    outcome = federation.drive(steps, garble=garble)
    done = FederatedRun(
        state=outcome.state,
        history=(outcome.parameters,),  # no document is made of it
        contributors=tuple(tuple(spec.nodes[p - 1] for p in r.contributors) for r in outcome.rounds),
        plans=outcome.plans,
        lost=(),
        totals={},
        seconds=1.0,
        epsilon_spent=spent(outcome.schedule, outcome.plans),
    )
    result = deployed_result(spec, outcome.schedule, done, ended=ENDED)
    return Material(
        canonical=canonical_bytes(spec),
        roster=federation.roster,
        exchanges=tuple(lines),
        sums=tuple(r.fields for r in outcome.rounds),
        model=save(dict(model_of(spec).split(outcome.parameters))),
        result=result.to_json().encode(),
        payloads=kept.payloads,
    )


@pytest.fixture(scope="session")
def material() -> Material:
    """Of a study without losses."""
    return run_material()


@pytest.fixture(scope="session")
def files(material: Material) -> dict[str, bytes]:
    """Its bundle."""
    return make_bundle(material, identity_of(COORDINATOR))


@pytest.fixture(scope="session")
def resigned(material: Material) -> Callable[..., dict[str, bytes]]:
    """The bundle of a coordinator that changed something and signed the manifest anew."""

    def make(*, exchanges: Sequence[bytes] | None = None, **changes: Any) -> dict[str, bytes]:
        given = {} if exchanges is None else {"exchanges": tuple(exchanges)}
        return make_bundle(dataclasses.replace(material, **given, **changes), identity_of(COORDINATOR))

    return make
