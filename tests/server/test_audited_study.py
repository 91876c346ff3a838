"""A whole study with canaries over real custodians: honest ones pass, each wrong part stops the release."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.errors import AuditFailed
from fedmed.models.canary_rows import ClipSum
from fedmed.protocol.steps import Phase, Reply
from fedmed.study import canonical_bytes, study_digest
from fedmed.types import IntArray, Layout, Scheme
from fedmed_nodes.answers.training import TrainingAnswerer
from fedmed_nodes.custodian import Custodian
from fedmed_server.study_flow import StudyOutcome, run_study
from tests.audited_rounds import WRONG_CLIPPING, WRONG_NOISE, DrawNoise
from tests.federation import (
    COORDINATOR,
    NOW,
    Federation,
    Garble,
    fresh_federation,
    identity_of,
    small_study,
    unaltered,
)

pytestmark = pytest.mark.slow

CANARIES = 1000


def drive(
    federation: Federation, *, scheme: Scheme = Scheme.PLAIN, garble: Garble = unaltered
) -> StudyOutcome:
    spec = small_study(scheme=scheme, audit__canaries=CANARIES)
    steps = run_study(
        spec, identity_of(COORDINATOR), federation.roster, today=NOW.date(), on_round=lambda summary: None
    )
    return federation.drive(steps, garble=garble)


@pytest.mark.parametrize(
    "scheme", [Scheme.THRESHOLD, Scheme.PLAIN, pytest.param(Scheme.CKKS, marks=pytest.mark.slow)]
)
def test_an_honest_study_passes_and_its_model_has_the_models_size(scheme: Scheme) -> None:
    outcome = drive(fresh_federation(), scheme=scheme)
    assert outcome.audit is not None
    assert not outcome.audit.failed
    assert outcome.audit.nodes == (1, 2, 3, 4)
    assert len(outcome.audit.scores) == CANARIES
    assert outcome.parameters.shape == (3,)


class WrongNoise(Custodian):
    """A custodian whose noise is drawn by another hand."""

    draw: DrawNoise
    point: int
    releases: int

    def _noise(self, layout: Layout) -> IntArray:
        self.releases += 1
        return self.draw(layout, 1, self.releases, self.point)


@pytest.mark.parametrize(("draw", "check"), WRONG_NOISE.values(), ids=WRONG_NOISE)
def test_wrong_noise_gives_no_model(draw: DrawNoise, check: str) -> None:
    federation = fresh_federation()
    for point, node in federation.nodes.items():
        wrong = WrongNoise(node.settings, node.effects)
        wrong.draw, wrong.point, wrong.releases = draw, point, 0
        node.custodian = wrong
    with pytest.raises(AuditFailed, match=check):
        drive(federation)


@pytest.mark.parametrize(("clip_sum", "check"), WRONG_CLIPPING.values(), ids=WRONG_CLIPPING)
def test_wrong_clipping_gives_no_model(clip_sum: ClipSum, check: str) -> None:
    federation = fresh_federation()
    digest = study_digest(canonical_bytes(small_study(scheme=Scheme.PLAIN, audit__canaries=CANARIES)))

    def spoil(phase: Phase, point: int, reply: Reply) -> Reply:
        if phase.name == "propose":
            answerers = federation.nodes[point].custodian.studies._answerers
            answerer = answerers[digest]
            assert isinstance(answerer, TrainingAnswerer)
            answerers[digest] = replace(answerer, clip_sum=clip_sum)
        return reply

    with pytest.raises(AuditFailed, match=check):
        drive(federation, garble=spoil)


def test_a_node_that_is_lost_at_the_end_may_keep_its_coins_and_two_may_not() -> None:
    def lost(*points: int) -> Garble:
        return lambda phase, point, reply: None if phase.name == "close" and point in points else reply

    outcome = drive(fresh_federation(), garble=lost(2))
    assert outcome.audit is not None
    assert (outcome.audit.nodes, outcome.audit.missing) == ((1, 3, 4), (2,))
    with pytest.raises(AuditFailed, match="2 contributors showed no coins"):
        drive(fresh_federation(), garble=lost(2, 3))


def test_a_seal_that_is_lost_on_the_way_starts_no_study() -> None:
    def bare(phase: Phase, point: int, reply: Reply) -> Reply:
        return Reply(parts=reply.parts[:1]) if phase.name == "propose" else reply

    federation = fresh_federation()
    with pytest.raises(AuditFailed, match="without sealing its canaries"):
        drive(federation, garble=bare)
    assert not any(node.effects.store.ledger() for node in federation.nodes.values())
