"""What a study's phases add up to, whoever gathered their records."""

from __future__ import annotations

from fedmed.phase_record import PhaseRecord, PhaseTotals, losses_in, plans_sent, progress, spent, totals
from fedmed.privacy.accounting import epsilon
from fedmed.protocol.schedule import schedule_for
from fedmed.types import PrivacyEvent
from tests.federation import small_study

SPEC = small_study(4)


def phase(name: str, **failed: str) -> PhaseRecord:
    """A phase of all nodes; ``node2="node_lost"`` names one that failed."""
    by_point = {point: (10, failed.get(node, "done")) for point, node in enumerate(SPEC.nodes, start=1)}
    return PhaseRecord(name=name, seconds=0.5, bytes_down=16, bytes_up=24, by_point=by_point)


CEREMONY = [phase("ceremony start"), phase("ceremony contribute"), phase("ceremony open"), phase("propose")]
ROUND = [phase("contribute"), phase("open")]


def test_totals_add_up_by_the_first_word_in_the_order_of_the_study() -> None:
    found = totals([*CEREMONY, *ROUND, *ROUND])
    assert list(found) == ["ceremony", "propose", "contribute", "open"]
    assert found["ceremony"] == PhaseTotals(seconds=1.5, down=48, up=72)
    assert found["open"] == PhaseTotals().plus(seconds=0.5, down=16, up=24).plus(seconds=0.5, down=16, up=24)


def test_a_loss_is_named_with_its_aggregation_and_only_there() -> None:
    lost = phase("contribute", node2="node_lost", node4="budget_exceeded")
    assert lost.failed_points == (2, 4)
    assert losses_in(SPEC, lost, round_number=3) == [("node2", 3, "contribute"), ("node4", 3, "contribute")]
    assert losses_in(SPEC, phase("open"), round_number=3) == []
    for name in ("ceremony contribute", "nonce", "close"):
        assert losses_in(SPEC, phase(name, node2="node_lost"), round_number=1) == []


def test_every_plan_is_charged_and_a_rehearsal_is_not() -> None:
    schedule = schedule_for(SPEC)
    assert plans_sent([*CEREMONY, *ROUND, phase("contribute"), *ROUND]) == 3
    assert spent(schedule, 0) == 0
    event = PrivacyEvent(noise_multiplier=schedule.noise_multiplier, count=2)
    assert spent(schedule, 2) == epsilon([event], schedule.accounted_delta)


def test_progress_tells_round_attempt_bytes_and_epsilon_after_the_last_phase() -> None:
    schedule = schedule_for(SPEC)
    records = [*CEREMONY, *ROUND, phase("contribute"), phase("open", node3="node_lost"), phase("contribute")]
    told = progress(SPEC, schedule, records, finished=1)
    assert (told.phase, told.round_number, told.attempt) == ("contribute", 2, 2)
    assert told.rounds == SPEC.training.aggregations
    assert told.states == dict.fromkeys(SPEC.nodes, "done")
    assert told.bytes_moved == dict.fromkeys(SPEC.nodes, 10 * len(records))
    assert (told.epsilon_spent, told.epsilon_planned) == (spent(schedule, 3), schedule.epsilon)
    failed = progress(SPEC, schedule, records[:-1], finished=1)
    assert failed.states["node3"] == "node_lost"


def test_outside_the_aggregations_there_is_no_round() -> None:
    schedule = schedule_for(SPEC)
    assert progress(SPEC, schedule, CEREMONY, finished=0).round_number == 0
    after = [*CEREMONY, *ROUND, *ROUND, *ROUND, phase("close")]
    assert progress(SPEC, schedule, after, finished=3).round_number == 0
