from __future__ import annotations

import datetime
import math
from dataclasses import replace

import pyarrow as pa
import pytest

from fedmed.aggregation.encoding import CHUNK_COEFFICIENTS, sensitivity
from fedmed.crypto.ckks_parameters import CIPHERTEXT_BYTES
from fedmed.crypto.parameters import RING_DEGREE
from fedmed.errors import ConfigError, StudyRefused
from fedmed.plans.stage import PLAIN_SET
from fedmed.privacy.accounting import epsilon
from fedmed.protocol.schedule import (
    SAMPLING_SHARE,
    Terms,
    chunk_count,
    rehearsal_openers,
    rehearsal_rounds,
    rehearsal_terms,
    schedule_for,
    terms_for,
)
from fedmed.types import Allowance, Layout, RoundKind, Scheme
from tests.federation import AGGREGATIONS, DECLARED, DELTA, EPSILON, SPARE_ATTEMPTS, roster_of, small_study
from tests.small_regression import fitting

DIGESTS = (bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32)


def test_the_noise_spends_the_studys_epsilon_over_all_attempts_and_not_more() -> None:
    schedule = schedule_for(small_study())
    assert schedule.releases == AGGREGATIONS + SPARE_ATTEMPTS
    (event,) = schedule.planned_events
    assert (event.count, event.noise_multiplier) == (schedule.releases, schedule.noise_multiplier)
    spent = epsilon(schedule.planned_events, schedule.accounted_delta)
    assert 0.99 * EPSILON < spent <= EPSILON


def test_an_exact_fit_counts_persons_first_and_its_figures_are_those_of_the_fit() -> None:
    tables = {node: pa.table({"x": [0] * 500}) for node in "abcd"}
    terms = [{"column": "age", "low": 0, "high": 100}, {"column": "sex", "levels": ["f", "m"]}]
    section = {"family": "logistic", "outcome": {"column": "died"}, "terms": terms, "rounds": 9}
    schedule = schedule_for(fitting("regression", section, tables))
    count, fit = schedule.stages
    assert (count.kind, count.rounds, count.input_values) == (RoundKind.SUPPORT, 1, 0)
    assert count.layout.values == 6 * (1 + 2 + 5) + 1
    assert (schedule.main, schedule.layout, fit.rounds) == (fit, fit.layout, 9)
    assert schedule.releases == 1 + 9 + schedule.spare_attempts
    (noisy,) = schedule_for(fitting("regression", section, tables, epsilon=1.0)).stages
    assert noisy.kind is RoundKind.REGRESSION, "noise hides small groups by itself"


def test_a_share_of_delta_is_kept_for_the_sampler() -> None:
    schedule = schedule_for(small_study())
    assert schedule.delta == DELTA
    assert schedule.accounted_delta == pytest.approx(DELTA * (1 - SAMPLING_SHARE), rel=1e-12)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [(3, (3, 0, 1, 3)), (4, (3, 1, 1, 3)), (31, (21, 4, 10, 12))],
)
def test_a_study_that_says_nothing_gets_the_protocols_allowance(
    nodes: int, expected: tuple[int, int, int, int]
) -> None:
    allowance = schedule_for(small_study(nodes)).allowance
    given = (allowance.threshold, allowance.dropouts, allowance.colluders, allowance.min_contributors)
    assert given == expected
    assert allowance.planned_contributors == nodes


def test_what_a_study_says_of_its_allowance_holds() -> None:
    spec = small_study(
        6,
        aggregation__threshold=5,
        aggregation__planned_contributors=5,
        aggregation__dropouts=0,
        aggregation__colluders=2,
        aggregation__min_contributors=4,
    )
    assert schedule_for(spec).allowance == Allowance(
        planned_contributors=5, threshold=5, dropouts=0, colluders=2, min_contributors=4
    )


def test_more_colluders_mean_more_noise_at_every_node() -> None:
    less = schedule_for(small_study(8, aggregation__colluders=1)).layout
    more = schedule_for(small_study(8, aggregation__colluders=2)).layout
    assert more.noise_scale > less.noise_scale
    assert more.tail > less.tail


def test_scheme_plain_has_no_ring_and_the_same_numbers() -> None:
    plain, threshold = (
        schedule_for(small_study(scheme=scheme)) for scheme in (Scheme.PLAIN, Scheme.THRESHOLD)
    )
    assert plain.layout.parameter_set == PLAIN_SET
    assert plain.bytes_per_value == 8.0
    same = ("grid", "limit", "tail", "values", "field_bits", "noise_scale")
    assert all(getattr(plain.layout, name) == getattr(threshold.layout, name) for name in same)


def test_scheme_ckks_has_the_same_numbers_and_whole_ciphertexts() -> None:
    ckks, threshold = (schedule_for(small_study(scheme=scheme)) for scheme in (Scheme.CKKS, Scheme.THRESHOLD))
    assert ckks.layout.parameter_set == "ckks400"
    assert ckks.bytes_per_value * ckks.layout.values == CIPHERTEXT_BYTES
    same = ("grid", "limit", "tail", "values", "field_bits", "noise_scale")
    assert all(getattr(ckks.layout, name) == getattr(threshold.layout, name) for name in same)
    assert ckks.planned_events == threshold.planned_events


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"aggregation__clamp_persons": 2**50}, "clamp_persons"),
        ({"aggregation__dropouts": 2, "aggregation__colluders": 1}, "dropouts and colluders"),
        ({"aggregation__threshold": 2}, "threshold"),
        ({"model__kind": "mlp", "model__hidden": [4096, 4096, 4096, 4096]}, "MB"),
    ],
    ids=["clamp", "nobody honest", "two halves", "size"],
)
def test_a_study_that_cannot_run_is_refused_with_the_reason(change: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        schedule_for(small_study(**change))  # type: ignore[arg-type]  # keys of the study file


def test_the_terms_say_what_the_study_and_the_roster_say() -> None:
    spec = small_study(aggregation__on_dropout="continue")
    schedule = schedule_for(spec)
    roster = roster_of(4, threshold=3, colluders=1)
    terms = terms_for(spec, schedule, roster, digests=DIGESTS)
    assert (terms.study_digest, terms.roster_digest, terms.epoch_id) == DIGESTS
    assert (terms.stage(1).kind, terms.stage(1).layout, terms.allowance) == (
        RoundKind.TRAINING,
        schedule.layout,
        schedule.allowance,
    )
    assert terms.most_plans == AGGREGATIONS + SPARE_ATTEMPTS
    assert terms.may_shrink
    assert not terms_for(small_study(), schedule, roster, digests=DIGESTS).may_shrink


def test_a_study_of_an_owner_that_the_roster_does_not_list_is_refused() -> None:
    """Guarantee of `check_owner`; a roster of before lists nobody, and then anybody owns a study."""
    spec, roster = small_study(), roster_of(4, threshold=3, colluders=1)
    schedule = schedule_for(spec)
    terms_for(spec, schedule, replace(roster, owners=(spec.owner,)), digests=DIGESTS)
    with pytest.raises(
        StudyRefused, match=r"^owner: .* is not among the roster's study owners, NHSA;"
    ) as fault:
        terms_for(spec, schedule, replace(roster, owners=("NHSA",)), digests=DIGESTS)
    assert fault.value.rule == "owner"


def test_a_roster_that_is_not_the_studys_is_refused() -> None:
    spec = small_study()
    schedule = schedule_for(spec)
    good = roster_of(4, threshold=3, colluders=1)
    for roster in (
        roster_of(5, threshold=3, colluders=0),
        replace(good, members=good.members[::-1]),
        replace(good, threshold=4),
        replace(good, colluders=0),
    ):
        with pytest.raises(ConfigError):
            terms_for(spec, schedule, roster, digests=DIGESTS)
    modest = small_study(aggregation__colluders=0)
    terms = terms_for(modest, schedule_for(modest), good, digests=DIGESTS)
    assert terms.roster.colluders > terms.allowance.colluders, "a roster may withstand more than a study asks"


# --- rehearsals --------------------------------------------------------------------------------------


def rehearsal(nodes: int, threshold: int) -> Terms:
    return rehearsal_terms(
        roster_of(nodes, threshold=threshold, colluders=0),
        digests=(bytes([7]) * 32, bytes(32), bytes(32)),
        scheme=Scheme.THRESHOLD,
        today=datetime.date(2026, 3, 2),
    )


@pytest.mark.parametrize("nodes", range(3, 32))
def test_the_rehearsals_openers_cover_all_custodians_for_every_threshold(nodes: int) -> None:
    for threshold in range(nodes // 2 + 1, nodes + 1):
        roster = roster_of(nodes, threshold=threshold, colluders=0)
        rounds = rehearsal_rounds(roster)
        asked = [rehearsal_openers(roster, number) for number in range(1, rounds + 1)]
        assert set().union(*asked) == set(roster.points)
        assert all(len(openers) == threshold for openers in asked)
        assert all(list(openers) == sorted(set(openers)) for openers in asked)
        assert (rounds - 1) * threshold < nodes <= rounds * threshold, "no more rounds than needed"


def test_a_rehearsal_needs_everybody_has_no_noise_and_fills_one_polynomial() -> None:
    terms = rehearsal(4, 3)
    assert terms.is_rehearsal
    assert terms.stage(1).kind is RoundKind.REHEARSAL
    assert terms.allowance.least_set == 4
    assert (terms.stage(1).layout.noise_scale, terms.stage(1).layout.tail) == (0.0, 0)
    assert (chunk_count(terms.stage(1).layout), terms.stage(1).layout.coefficients) == (1, CHUNK_COEFFICIENTS)
    assert (terms.aggregations, terms.spare_attempts) == (2, 0)
    assert terms.study_digest == bytes([7]) * 32
    assert terms.expires == datetime.date(2026, 3, 3)


@pytest.mark.parametrize(
    ("coefficients", "chunks"), [(1, 1), (RING_DEGREE, 1), (RING_DEGREE + 1, 2), (3 * RING_DEGREE, 3)]
)
def test_a_vector_takes_as_many_polynomials_as_its_coefficients_fill(coefficients: int, chunks: int) -> None:
    layout = Layout(
        grid=1.0,
        limit=1,
        tail=0,
        values=5 * coefficients,
        field_bits=28,
        fields=5,
        parameter_set="t8",
        noise_scale=8.0,
    )
    assert chunk_count(layout) == chunks


@pytest.mark.parametrize("homes", [2, 4])
def test_persons_at_several_nodes_cost_the_same_epsilon_and_more_noise(homes: int) -> None:
    """Each node clips to C / K; what all of a person's nodes move together is what the noise is for."""
    one, several = schedule_for(small_study()), schedule_for(small_study(privacy__max_nodes_per_person=homes))
    assert several.planned_events == one.planned_events
    stage = several.stages[0]
    assert stage.clip_norm == small_study().privacy.clip_norm / homes
    honest = several.allowance.honest_contributors**0.5
    at_one_node = sensitivity(stage.clip_norm, stage.layout.grid, values=3, max_persons=DECLARED)
    moved = stage.layout.noise_scale * honest / stage.noise_multiplier
    assert moved == pytest.approx(homes * at_one_node)
    clip_over_grid = small_study().privacy.clip_norm / stage.layout.grid
    assert moved >= clip_over_grid + homes * math.sqrt(3)
