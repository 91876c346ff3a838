"""Runs of a frontier: the fast path, what is encrypted, what goes on after a kill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from fedmed.aggregation.ckks_node import CkksContributor
from fedmed.aggregation.combiners import combiner_for
from fedmed.aggregation.contract import Contributor, Opening
from fedmed.aggregation.encoding import decode, encode
from fedmed.aggregation.plain_node import PlainContributor
from fedmed.aggregation.threshold_node import ThresholdContributor, insecure_epoch_keys
from fedmed.crypto.ckks_secret import CkksKeys
from fedmed.frontier.grid import Choice, Grid
from fedmed.frontier.runs import Baselines, Ground, Study, in_the_clear, run
from fedmed.frontier.tasks import all_tasks, pending, task_key
from fedmed.privacy.clipping import ClippedSum
from fedmed.privacy.noise import DiscreteGaussian, insecure_source
from fedmed.protocol.schedule import schedule_for
from fedmed.types import Layout, Mode, Scheme
from tests.small_province import names, small_study

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

NODES, PERSONS = 4, 30
PLAN, HEADERS = bytes(32), bytes(range(32))
SPEC = small_study(
    NODES,
    data__held_out=0.3,
    data__declared_persons=dict.fromkeys(names(NODES), PERSONS),
    aggregation__clamp_persons=PERSONS,
)
GRID = Grid(
    modes=(Mode.AGGREGATE,),
    schemes=(Scheme.THRESHOLD,),
    epsilons=(1.0, 2.0),
    nodes=(NODES,),
    people=(NODES * PERSONS,),
    clips=(1.0,),
    aggregations=(None,),
    seeds=(1, 2),
)


def population(*, people: int, seed: int) -> Mapping[str, pa.Table]:
    """Persons with one row each; the older, the sicker."""
    del people
    rng, found = np.random.default_rng(seed), {}
    for node in SPEC.nodes:
        age = rng.uniform(0, 100, PERSONS)
        found[node] = pa.table(
            {
                "psn_no": [f"{seed}-{node}-{i}" for i in range(PERSONS)],
                "age": age,
                "visits": rng.uniform(0, 10, PERSONS),
                "sick": (age + rng.normal(0, 30, PERSONS) > 50).astype(np.float64),
            }
        )
    return found


GROUND = Ground(spec=SPEC, population=population)


def choice(**changes: object) -> Choice:
    return replace(GRID.choices[0], **changes)  # type: ignore[arg-type]  # names and values of tests


def opened(kind: Scheme, layout: Layout, sums: np.ndarray, noise: np.ndarray, *, clip: float) -> np.ndarray:
    """What the coordinator decodes from these sums and this noise."""
    keys = insecure_epoch_keys(NODES, 3, source=insecure_source(1))
    nodes: list[Contributor] = {
        Scheme.THRESHOLD: [ThresholdContributor(k) for k in keys],
        Scheme.CKKS: [CkksContributor(CkksKeys(bytes(32), point=p, threshold=3)) for p in (1, 2, 3, 4)],
        Scheme.PLAIN: [PlainContributor()] * NODES,
    }[kind]
    combiner = combiner_for(kind)(layout)
    for node, values, shares in zip(nodes, sums, noise, strict=True):
        fields = encode(ClippedSum(values=values.copy(), clip_norm=clip), shares, layout, clip_norm=clip)
        combiner.add_contribution(node.contribute(fields, plan_digest=PLAN, layout=layout))
    for node in nodes[:3]:
        combiner.add_opening(
            node.open(
                Opening(
                    plan_digest=PLAN,
                    layout=layout,
                    contributors=[1, 2, 3, 4],
                    openers=[1, 2, 3],
                    headers_digest=HEADERS,
                    sums=combiner.sums(),
                )
            )
        )
    return decode(combiner.total(), layout, NODES)


def test_sums_of_the_fast_path_equal_the_encrypted_ones_bit_for_bit() -> None:
    aggregation = SPEC.aggregation.model_copy(update={"scheme": Scheme.CKKS})
    shared_key = SPEC.model_copy(update={"aggregation": aggregation})
    ring, shared, clear = (schedule_for(spec).layout for spec in (SPEC, shared_key, in_the_clear(SPEC)))
    assert [
        (layout.grid, layout.limit, layout.tail, layout.values, layout.noise_scale)
        for layout in (ring, shared, clear)
    ] == [(ring.grid, ring.limit, ring.tail, ring.values, ring.noise_scale)] * 3
    rng = np.random.default_rng(1)
    sums = rng.normal(0, 5, (NODES, ring.values))
    law = DiscreteGaussian(ring.noise_scale)
    noise = np.stack([law.sample(ring.values, insecure_source(i)) for i in range(NODES)])
    found = [
        opened(kind, layout, sums, noise, clip=SPEC.privacy.clip_norm)
        for kind, layout in ((Scheme.THRESHOLD, ring), (Scheme.CKKS, shared), (Scheme.PLAIN, clear))
    ]
    assert found[0].tobytes() == found[1].tobytes() == found[2].tobytes()


def test_an_encrypted_run_tells_bytes_and_seconds_and_the_fast_path_does_not() -> None:
    (encrypted,) = run(Study(choice=choice(), seed=1, is_encrypted=True), GROUND)
    (fast,) = run(Study(choice=choice(), seed=1, is_encrypted=False), GROUND)
    assert encrypted.is_encrypted
    assert encrypted.size_bytes is not None
    assert encrypted.seconds is not None
    assert (fast.is_encrypted, fast.size_bytes, fast.seconds) == (False, None, None)
    assert fast.layout == encrypted.layout
    assert fast.events == encrypted.events
    assert fast.scheme == "threshold"
    (plain,) = run(Study(choice=choice(scheme=Scheme.PLAIN), seed=1, is_encrypted=False), GROUND)
    assert plain.scheme == "plain"
    assert not plain.is_encrypted
    assert plain.size_bytes is not None
    assert plain.size_bytes < encrypted.size_bytes


def test_baselines_are_two_arms_with_or_without_privacy() -> None:
    private = run(Baselines(choice=choice(), seed=1, is_private=True), GROUND)
    assert [row.arm for row in private] == ["central", "alone_private"]
    assert [row.epsilon for row in private] == [1.0, 1.0]
    plain = run(Baselines(choice=choice(), seed=1, is_private=False), GROUND)
    assert [(row.arm, row.epsilon, row.clip_norm) for row in plain] == [
        ("pooled", None, None),
        ("alone", None, None),
    ]
    assert plain[0].auc > 0.7


def test_people_can_be_dealt_to_other_numbers_of_nodes() -> None:
    (row,) = run(Study(choice=choice(nodes=5, people=100), seed=1, is_encrypted=False), GROUND)
    assert (row.nodes, row.people) == (5, 100)
    assert "5 nodes" in row.layout


def test_each_layout_is_encrypted_once_and_what_is_done_stays_done() -> None:
    todo = pending(GRID, GROUND, {}, rows_of="rows")
    assert len(todo) == len(all_tasks(GRID)) == 2 * 2 + 2 * 2 + 2
    studies = [task for _, task in todo if isinstance(task, Study)]
    layouts = {task.choice.epsilon for task in studies if task.is_encrypted}
    assert 1 <= len(layouts) == sum(task.is_encrypted for task in studies) <= 2
    first_key, first = todo[0]
    assert isinstance(first, Study)
    assert first.is_encrypted
    done = {first_key: run(first, GROUND)}
    rest = pending(GRID, GROUND, done, rows_of="rows")
    assert {key for key, _ in rest} == {key for key, _ in todo} - {first_key}
    assert sum(isinstance(t, Study) and t.is_encrypted for _, t in rest) == len(layouts) - 1


def test_a_layout_whose_encrypted_run_is_lost_is_encrypted_again() -> None:
    grid = replace(GRID, epsilons=(1.0,), seeds=(1,))
    fast = {
        task_key(task, GROUND, rows_of="rows"): run(task, GROUND)
        for task in all_tasks(grid)
        if isinstance(task, Study)
    }
    todo = pending(grid, GROUND, fast, rows_of="rows")
    assert [task.is_encrypted for _, task in todo if isinstance(task, Study)] == [True]


def test_a_key_names_the_work_and_the_rows_and_not_how_it_was_done() -> None:
    study = Study(choice=choice(), seed=1, is_encrypted=False)
    key = task_key(study, GROUND, rows_of="rows")
    assert key == task_key(replace(study, is_encrypted=True), GROUND, rows_of="rows")
    assert key != task_key(study, GROUND, rows_of="other rows")
    assert key != task_key(replace(study, seed=2), GROUND, rows_of="rows")
    other = replace(GROUND, spec=SPEC.model_copy(update={"model": SPEC.model}))
    assert key == task_key(study, other, rows_of="rows")
    plain = Baselines(choice=choice(), seed=1, is_private=False)
    same = replace(plain, choice=choice(epsilon=2.0, clip_norm=3.0))
    assert task_key(plain, GROUND, rows_of="r") == task_key(same, GROUND, rows_of="r")
    private = replace(plain, is_private=True)
    assert task_key(private, GROUND, rows_of="r") != task_key(
        replace(same, is_private=True), GROUND, rows_of="r"
    )
