"""A study as the coordinator runs it: exact sums, losses, and what a swapped node changes (nothing)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from fedmed import wire
from fedmed.aggregation.encoding import decode, encode
from fedmed.crypto.lattice_secret import keystream
from fedmed.errors import ConfigError, FedMedError, PlansExhausted, StudyExpired, TooFewNodes
from fedmed.local_grid import LocalGrid
from fedmed.messages import StudyProposal
from fedmed.models.gradients import clipped_gradient_sum
from fedmed.models.layout import PersonClip
from fedmed.plans.training import model_of
from fedmed.privacy.noise import ByteSource, fresh_source
from fedmed.protocol.coordinator_round import Opened, aggregate, propose
from fedmed.protocol.schedule import schedule_for
from fedmed.protocol.steps import LOST, Phase, PhaseKind, Reply, Steps
from fedmed.study import TrainingStudy
from fedmed.training.optimiser import OptimiserState, step
from fedmed.types import FloatArray, Scheme, WordArray
from fedmed_nodes.client_app import CustodianPort, build_client_app
from fedmed_server.driver import GridDriver
from fedmed_server.study_flow import RoundSummary, StudyOutcome, run_study
from tests.federation import (
    COORDINATOR,
    NOW,
    OPEN_POLICY,
    Federation,
    Garble,
    Tamper,
    Trial,
    fresh_federation,
    identity_of,
    insecure_no_noise,
    make_federation,
    roster_of,
    small_source,
    small_study,
    unaltered,
    untouched,
)

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

Parts = tuple[bytes, ...]
MLP = {"model__kind": "mlp", "model__hidden": [3]}


@dataclass(kw_only=True)
class Run:
    """A study that ran, or stopped, on a federation of its own."""

    spec: TrainingStudy
    federation: Federation
    rounds: list[RoundSummary]
    phases: list[str]
    outcome: StudyOutcome | None = None
    stopped: FedMedError | None = None

    def charges(self, point: int) -> int:
        return len(self.federation.nodes[point].effects.store.ledger())

    def assert_no_keys_are_left(self) -> None:
        assert not any(node.effects.secrets.epochs() for node in self.federation.nodes.values())


def run(
    spec: TrainingStudy,
    *,
    tamper: Tamper = untouched,
    garble: Garble = unaltered,
    noise: Callable[[], ByteSource] = insecure_no_noise,
) -> Run:
    """Run a whole study; what stops it is kept."""
    allowance = schedule_for(spec).allowance
    federation = fresh_federation(
        len(spec.nodes), threshold=allowance.threshold, colluders=allowance.colluders, noise=noise
    )
    here = Run(spec=spec, federation=federation, rounds=[], phases=[])

    def watch(phase: Phase, point: int, parts: Parts) -> Parts | None:
        if not here.phases or here.phases[-1] != phase.name:
            here.phases.append(phase.name)
        return tamper(phase, point, parts)

    steps = run_study(
        spec,
        identity_of(COORDINATOR),
        federation.roster,
        today=NOW.date(),
        on_round=here.rounds.append,
    )
    try:
        here.outcome = federation.drive(steps, tamper=watch, garble=garble)
    except FedMedError as error:
        here.stopped = error
    return here


# --- Against the same computation without a protocol -------------------------------------------------


def fields_of(spec: TrainingStudy, point: int, parameters: FloatArray) -> WordArray:
    """One node's clipped gradient sum on the integer grid, with zero noise."""
    schedule = schedule_for(spec)
    clipped = clipped_gradient_sum(
        parameters,
        small_source(point).training_examples(spec.dataset_spec),
        layout=model_of(spec),
        clip=PersonClip(norm=spec.privacy.clip_norm, rows=spec.training.rows_of_a_person),
    )
    silent = np.zeros(schedule.layout.values, np.int64)
    return encode(clipped, silent, schedule.layout, clip_norm=spec.privacy.clip_norm)


def computed_directly(spec: TrainingStudy, digest: bytes, sets: Sequence[Sequence[int]]) -> list[FloatArray]:
    """Parameters after each round whose sum is over the given nodes."""
    schedule = schedule_for(spec)
    start = model_of(spec).initial(digest)
    state, history = OptimiserState(parameters=start, velocity=np.zeros_like(start)), []
    for points in sets:
        total = np.zeros(schedule.layout.values, np.uint64)
        for point in points:
            total += fields_of(spec, point, state.parameters)
        state = step(
            state,
            decode(total, schedule.layout, len(points)),
            persons=sum(spec.training_persons(spec.nodes[p - 1]) for p in points),
            learning_rate=spec.training.learning_rate,
            momentum=spec.training.momentum,
        )
        history.append(state.parameters)
    return history


def assert_as_computed_directly(here: Run) -> None:
    assert here.outcome is not None, here.stopped
    sets = [summary.contributors for summary in here.rounds]
    expected = computed_directly(here.spec, here.outcome.study_digest, sets)
    for summary, parameters in zip(here.rounds, expected, strict=True):
        assert np.array_equal(summary.parameters, parameters)
    assert np.array_equal(here.outcome.parameters, expected[-1])


@pytest.mark.parametrize(
    ("nodes", "scheme", "model"),
    [
        pytest.param(3, Scheme.THRESHOLD, {}, marks=pytest.mark.slow),
        (3, Scheme.THRESHOLD, MLP),
        (3, Scheme.PLAIN, {}),
        (3, Scheme.PLAIN, MLP),
        pytest.param(3, Scheme.CKKS, MLP, marks=pytest.mark.slow),
        (5, Scheme.THRESHOLD, MLP),
        pytest.param(9, Scheme.THRESHOLD, {}, marks=pytest.mark.slow),
        (9, Scheme.PLAIN, MLP),
    ],
)
def test_a_study_without_noise_is_the_same_computation_bit_for_bit(
    nodes: int, scheme: Scheme, model: dict[str, object]
) -> None:
    here = run(small_study(nodes, scheme=scheme, **model))
    assert_as_computed_directly(here)
    assert {s.contributors for s in here.rounds} == {tuple(range(1, nodes + 1))}
    assert here.outcome is not None
    assert here.outcome.plans == here.spec.training.aggregations
    assert [here.charges(p) for p in here.federation.roster.points] == [here.outcome.plans] * nodes
    here.assert_no_keys_are_left()


def test_noise_of_two_runs_differs_and_moves_the_model() -> None:
    first, second, silent = (
        run(small_study(3), noise=n) for n in (fresh_source, fresh_source, insecure_no_noise)
    )
    models = [r.outcome.parameters for r in (first, second, silent) if r.outcome is not None]
    assert len({m.tobytes() for m in models}) == 3


# --- Losses ------------------------------------------------------------------------------------------


def silent_from(point: int, phase: str, nth: int) -> Tamper:
    """A node that never answers again from the N-th phase of a name on."""
    seen = 0

    def tamper(asked: Phase, to: int, parts: Parts) -> Parts | None:
        nonlocal seen
        if to != point:
            return parts
        seen += asked.name == phase
        return None if seen >= nth else parts

    return tamper


def silent_once(point: int, phase: str, nth: int) -> Garble:
    """A node whose N-th reply of a name is lost on the way."""
    seen = 0

    def garble(asked: Phase, to: int, reply: Reply) -> Reply | None:
        nonlocal seen
        seen += asked.name == phase and to == point
        return None if (asked.name, to, seen) == (phase, point, nth) else reply

    return garble


@pytest.mark.parametrize("on_dropout", ["stop", "continue"])
def test_a_node_lost_before_it_contributed_is_covered_by_the_allowance(on_dropout: str) -> None:
    here = run(small_study(4, aggregation__on_dropout=on_dropout), tamper=silent_from(2, "contribute", 1))
    assert_as_computed_directly(here)
    assert {s.contributors for s in here.rounds} == {(1, 3, 4)}
    assert here.outcome is not None
    assert here.outcome.lost == {2: LOST}
    assert here.charges(2) == 0


def test_a_contributor_lost_after_the_first_opening_stops_the_study_with_nothing_opened() -> None:
    here = run(small_study(4), tamper=silent_from(2, "contribute", 2))
    assert isinstance(here.stopped, TooFewNodes)
    assert here.stopped.exit_code == 5
    assert "node2" in str(here.stopped)
    assert len(here.rounds) == 1
    second = here.phases[here.phases.index("open") + 1 :]
    assert "open" not in second, "nothing of the second round was opened"
    assert second[-2:] == ["close", "ceremony end"]
    for point in (1, 3, 4):
        assert not here.federation.nodes[point].effects.secrets.epochs()


def test_a_contributor_lost_after_the_first_opening_is_left_out_where_policies_allow() -> None:
    here = run(small_study(4, aggregation__on_dropout="continue"), tamper=silent_from(2, "contribute", 2))
    assert_as_computed_directly(here)
    assert [s.contributors for s in here.rounds] == [(1, 2, 3, 4), (1, 3, 4), (1, 3, 4)]
    assert here.outcome is not None
    assert here.outcome.lost == {2: LOST}


def test_on_dropout_continue_needs_every_policys_consent() -> None:
    spec = small_study(4, aggregation__on_dropout="continue")
    federation = fresh_federation(4, policy=replace(OPEN_POLICY, allow_continue=False))
    steps = run_study(
        spec, identity_of(COORDINATOR), federation.roster, today=NOW.date(), on_round=lambda s: None
    )
    with pytest.raises(FedMedError, match="node1 refused") as refused:
        federation.drive(steps)
    assert refused.value.exit_code == 3


@pytest.mark.parametrize("kind", ["request", "reply"])
def test_an_opener_lost_after_t_was_fixed_costs_a_new_attempt(kind: str) -> None:
    def lose_request(phase: Phase, point: int, parts: Parts) -> Parts | None:
        if (phase.name, point, lost) == ("open", 2, []):
            lost.append(point)
            return None
        return parts

    lost: list[int] = []
    lossy: dict[str, Any] = (
        {"tamper": lose_request} if kind == "request" else {"garble": silent_once(2, "open", 1)}
    )
    here = run(small_study(4), **lossy)
    assert_as_computed_directly(here)
    assert here.outcome is not None
    assert [s.attempts for s in here.rounds] == [2, 1, 1]
    assert here.outcome.plans == 4
    assert [here.charges(p) for p in (1, 2, 3, 4)] == [4, 4, 4, 4]


def test_a_study_ends_when_its_plans_are_used_up() -> None:
    def never_opens(phase: Phase, point: int, reply: Reply) -> Reply | None:
        return None if (phase.name, point) == ("open", 3) else reply

    here = run(small_study(4), garble=never_opens)
    assert isinstance(here.stopped, TooFewNodes | PlansExhausted)
    assert here.charges(1) == 2
    here.assert_no_keys_are_left()


def test_a_garbled_contribution_is_left_out_of_the_sum() -> None:
    def garble(phase: Phase, point: int, reply: Reply) -> Reply:
        if (phase.name, point) != ("contribute", 2) or reply.is_refusal:
            return reply
        header, chunk = reply.parts
        return Reply(parts=(header, chunk[:-1] + bytes([chunk[-1] ^ 1])))

    here = run(small_study(4), garble=garble)
    assert_as_computed_directly(here)
    assert {s.contributors for s in here.rounds} == {(1, 3, 4)}
    assert here.charges(2) == 1, "what was asked for is charged, used or not"


# --- Ends --------------------------------------------------------------------------------------------


def test_a_refused_proposal_destroys_the_keys_of_its_epoch_everywhere() -> None:
    federation = fresh_federation(4)
    federation.nodes[3].with_policy(replace(OPEN_POLICY, max_epsilon_per_study=0.5))
    steps = run_study(
        small_study(4), identity_of(COORDINATOR), federation.roster, today=NOW.date(), on_round=lambda s: None
    )
    with pytest.raises(FedMedError, match="node3 refused"):
        federation.drive(steps)
    assert not any(node.effects.secrets.epochs() for node in federation.nodes.values())


def test_an_expired_study_is_refused_by_the_nodes() -> None:
    here = run(small_study(3, study__expires="2026-03-01"))
    assert isinstance(here.stopped, StudyExpired)
    here.assert_no_keys_are_left()


def test_a_study_that_does_not_fit_the_roster_is_refused_before_any_ceremony() -> None:
    steps = run_study(
        small_study(4),
        identity_of(COORDINATOR),
        roster_of(5, threshold=4, colluders=1),
        today=NOW.date(),
        on_round=lambda s: None,
    )
    with pytest.raises(ConfigError, match="roster"):
        next(steps)


# --- A node fed from a recorded transcript -----------------------------------------------------------


class Recorder:
    """Passes messages on and keeps both sides."""

    def __init__(self, custodian: CustodianPort) -> None:
        self.custodian = custodian
        self.transcript: list[tuple[PhaseKind, Parts, Reply]] = []

    def answer(self, kind: PhaseKind, parts: Sequence[bytes]) -> Reply:
        reply = self.custodian.answer(kind, parts)
        self.transcript.append((kind, tuple(parts), reply))
        return reply


class Replayer:
    """A node that holds nothing but a transcript."""

    def __init__(self, transcript: Sequence[tuple[PhaseKind, Parts, Reply]]) -> None:
        self._left = list(transcript)

    def answer(self, kind: PhaseKind, parts: Sequence[bytes]) -> Reply:
        expected, asked, reply = self._left.pop(0)
        assert (kind, tuple(parts)) == (expected, asked), "the others' messages would differ"
        return reply


def two_rounds(trial: Trial) -> Steps[list[Opened]]:
    """Proposal and two aggregations."""
    proposal = StudyProposal(
        canonical=trial.canonical, roster_digest=trial.federation.roster_digest, epoch_id=trial.epoch_id
    )
    standing = yield from propose(trial.desk, wire.encode_proposal(proposal))
    opened = []
    for round_number in (1, 2):
        one, standing = yield from aggregate(
            trial.desk, standing, round_number=round_number, inputs=trial.inputs
        )
        opened.append(one)
    return opened


def same(source: ByteSource) -> ByteSource:
    """One stream for all releases."""
    return source


def over_flower(replaced: dict[int, Replayer]) -> tuple[list[Opened], dict[int, Recorder]]:
    """Two rounds on real ClientApps; entropy and noise of every custodian come from fixed streams."""
    federation = make_federation(4)
    for point, node in federation.nodes.items():
        entropy, noise = keystream(bytes([point]) * 32), keystream(bytes([100 + point]) * 32)
        node.effects = replace(node.effects, entropy=entropy, noise=functools.partial(same, noise))
        node.restart()
    recorders = {p: Recorder(node.custodian) for p, node in federation.nodes.items()}
    ports: dict[int, CustodianPort] = {**recorders, **replaced}
    app = build_client_app(lambda context: ports[context.node_id])
    contexts = {
        p: Context(run_id=1, node_id=p, node_config={}, state=RecordDict(), run_config={}) for p in ports
    }
    grid = LocalGrid(dict.fromkeys(ports, app), contexts)
    driver = GridDriver(grid, {p: p for p in ports}, make_message=grid.create_message)
    return driver.run(two_rounds(Trial(federation, small_study(4)))), recorders


@pytest.mark.slow
def test_any_node_swapped_for_one_fed_from_a_transcript_gives_the_same_sums() -> None:
    recorded, recorders = over_flower({})
    for point in (1, 2, 3, 4):
        swapped, others = over_flower({point: Replayer(recorders[point].transcript)})
        assert others[point].transcript == [], "the real custodian was asked nothing"
        for one, other in zip(recorded, swapped, strict=True):
            assert np.array_equal(one.fields, other.fields)
            assert one.contributors == other.contributors == (1, 2, 3, 4)


def test_a_custodian_is_given_bytes_only() -> None:
    _, recorders = over_flower({})
    for recorder in recorders.values():
        for _, parts, reply in recorder.transcript:
            assert all(type(part) is bytes for part in (*parts, *reply.parts))
