"""Whole studies in one process on real Flower apps: what is written, what is charged, who is named."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from safetensors.numpy import load_file

from fedmed.comparison import judge, make_bench
from fedmed.crypto.identity import Identity
from fedmed.errors import ConfigError, DataContractError, TooFewNodes
from fedmed.models.layout import ModelLayout
from fedmed.plans.training import model_of
from fedmed.privacy.accounting import epsilon
from fedmed.progress import Progress
from fedmed.protocol.schedule import schedule_for
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed.report.result import Result
from fedmed.simulation import Faults, federate, load_app, run_study
from fedmed.study import TrainingStudy, canonical_bytes, load_study, study_digest
from fedmed.types import FloatArray, Mode, PrivacyEvent, Scheme
from fedmed_nodes.client_app import CustodianPort
from tests.federation import DATASET, names, small_study

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

PERSONS, DECLARED, ROWS = 40, 50, 2
Spoil = Callable[[int, str], bool]


def study(nodes: int = 4, *, baselines: bool = False, **changes: object) -> TrainingStudy:
    """The harness's study with a held-out part and more persons, without comparison arms."""
    settings: dict[str, object] = {
        "data__held_out": 0.3,
        "data__declared_persons": dict.fromkeys(names(nodes), DECLARED),
        "aggregation__clamp_persons": DECLARED,
        "report__baselines": baselines,
        **changes,
    }
    scheme = settings.pop("scheme", Scheme.THRESHOLD)
    assert isinstance(scheme, Scheme)
    return small_study(nodes, scheme=scheme, **settings)


def tables(spec: TrainingStudy, *, seed: int = 1) -> dict[str, pa.Table]:
    """Persons with two rows each; older and sicker at higher points."""
    found = {}
    for point, node in enumerate(spec.nodes):
        rng = np.random.default_rng((seed, point))
        age = rng.uniform(0, 100, PERSONS).repeat(ROWS)
        found[node] = pa.table(
            {
                "psn_no": [f"{node}-{i // ROWS}" for i in range(PERSONS * ROWS)],
                "age": age,
                "visits": rng.integers(0, 11, PERSONS * ROWS).astype(np.float64),
                "sick": (age + rng.normal(0, 30, PERSONS).repeat(ROWS) > 50).astype(np.int64),
            }
        )
    return found


def run(spec: TrainingStudy, folder: Path, *, faults: Faults | None = None, seed: int = 1) -> Result:
    return run_study(spec, tables(spec, seed=seed), folder=folder, seed=seed, faults=faults)


def after(point: int, message_type: str, nth: int) -> Spoil:
    """Loses the N-th message of a type to a node, counted from the proposal on, and all later ones."""
    seen, proposed = 0, False

    def spoil(to: int, kind: str) -> bool:
        nonlocal seen, proposed
        if to != point:
            return False
        proposed |= kind == "query.propose"
        seen += proposed and kind == message_type
        return proposed and seen >= nth

    return spoil


# --- A clean run -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrainingStudy, Path, Result]:
    spec, folder = study(4, baselines=True), tmp_path_factory.mktemp("run")
    return spec, folder, run(spec, folder)


def test_the_folder_holds_the_study_the_result_and_the_model(
    clean: tuple[TrainingStudy, Path, Result],
) -> None:
    spec, folder, result = clean
    assert {p.name for p in folder.iterdir()} == {
        "study.toml",
        "result.json",
        "model.safetensors",
        "model_card.md",
    }
    assert Result.from_json((folder / "result.json").read_bytes()) == result
    again = load_study((folder / "study.toml").read_text())
    assert study_digest(canonical_bytes(again)) == study_digest(canonical_bytes(spec))
    assert result.study.digest == study_digest(canonical_bytes(spec)).hex()


def model_in(folder: Path, model: ModelLayout) -> FloatArray:
    """The saved tensors as one vector."""
    arrays = load_file(str(folder / "model.safetensors"))
    assert set(arrays) == set(model.names)
    return np.concatenate([arrays[name].ravel() for name in model.names])


def test_the_saved_model_gives_the_reported_auc(clean: tuple[TrainingStudy, Path, Result]) -> None:
    spec, folder, result = clean
    schedule = schedule_for(spec)
    parameters = model_in(folder, model_of(spec))
    bench = make_bench(spec, schedule, tables(spec), start=np.zeros(model_of(spec).size))
    assert judge(bench, parameters) == result.arms.federated
    assert result.curve[-1].federated == pytest.approx(result.arms.federated.auc, abs=1e-12)


def test_the_result_says_what_was_planned_spent_and_moved(clean: tuple[TrainingStudy, Path, Result]) -> None:
    spec, _, result = clean
    schedule = schedule_for(spec)
    aggregations = spec.training.aggregations
    spent = PrivacyEvent(noise_multiplier=schedule.noise_multiplier, count=aggregations)
    assert result.privacy.epsilon_spent == epsilon([spent], schedule.accounted_delta) < result.privacy.epsilon
    assert (result.aggregation.attempts, result.aggregation.aggregations) == (aggregations, aggregations)
    assert result.aggregation.contributors == (spec.nodes,)
    assert result.aggregation.lost_nodes == ()
    assert [p.phase for p in result.phases[:3]] == ["ceremony", "propose", "contribute"]
    assert result.seconds["total"] > 0
    assert [c.aggregation for c in result.curve] == list(range(1, aggregations + 1))


def test_all_six_arms_are_scored_at_every_node(clean: tuple[TrainingStudy, Path, Result]) -> None:
    spec, _, result = clean
    arms = result.arms
    for arm in (
        arms.federated,
        arms.central,
        arms.alone_private,
        arms.alone,
        arms.pooled,
        arms.statistics,
    ):
        assert arm is not None
        assert set(arm.per_node) == set(spec.nodes)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_rows_and_plain_arms_but_other_noise(
    clean: tuple[TrainingStudy, Path, Result], tmp_path: Path
) -> None:
    spec, folder, first = clean
    second = run(spec, tmp_path)
    assert tables(spec) == tables(spec)
    assert first.arms.pooled == second.arms.pooled
    assert first.arms.alone == second.arms.alone
    model = model_of(spec)
    assert not np.array_equal(model_in(folder, model), model_in(tmp_path, model))


def test_progress_is_told_in_public_words(tmp_path: Path) -> None:
    events: list[Progress] = []
    spec = study(3)
    run_study(spec, tables(spec), folder=tmp_path, seed=1, on_progress=events.append)
    phases = [e.phase for e in events]
    assert {"ceremony", "propose", "contribute", "open", "close"} <= set(phases)
    opened = [e for e in events if e.phase == "open"]
    assert [e.round_number for e in opened] == [1, 2, 3]
    assert all(set(e.states.values()) == {"done"} for e in opened)
    spent = [e.epsilon_spent for e in events]
    assert spent == sorted(spent)
    assert spent[0] == 0 < spent[-1] <= events[-1].epsilon_planned


@pytest.mark.parametrize("nodes", [3, 5, pytest.param(9, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "scheme", [Scheme.THRESHOLD, Scheme.PLAIN, pytest.param(Scheme.CKKS, marks=pytest.mark.slow)]
)
def test_any_number_of_nodes_runs_to_a_result(nodes: int, scheme: Scheme, tmp_path: Path) -> None:
    spec = study(nodes, scheme=scheme, model__kind="mlp", model__hidden=[3])
    result = run(spec, tmp_path)
    assert result.aggregation.nodes == nodes
    assert result.aggregation.contributors == (spec.nodes,)
    assert result.arms.pooled is None, "arms that were not asked for are absent"
    assert (result.aggregation.margin_bits is None) == (scheme is Scheme.PLAIN)


# --- Losses ------------------------------------------------------------------------------------------


def test_a_node_lost_before_contributing_is_named_and_the_study_goes_on(tmp_path: Path) -> None:
    spec = study(4)
    result = run(spec, tmp_path, faults=Faults(loses=after(2, "train", 1)))
    assert result.aggregation.contributors == (("node1", "node3", "node4"),)
    assert [(n.node, n.aggregation, n.phase) for n in result.aggregation.lost_nodes] == [
        ("node2", 1, "contribute")
    ]


def test_a_node_lost_later_stops_the_study_and_no_folder_is_written(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    with pytest.raises(TooFewNodes) as stopped:
        run(study(4), folder, faults=Faults(loses=after(2, "train", 2)))
    assert stopped.value.exit_code == 5
    assert not folder.exists()


def test_a_node_lost_later_is_left_out_where_the_study_continues(tmp_path: Path) -> None:
    spec = study(4, aggregation__on_dropout="continue")
    result = run(spec, tmp_path, faults=Faults(loses=after(2, "train", 2)))
    assert result.aggregation.contributors == (spec.nodes, ("node1", "node3", "node4"))
    assert [n.node for n in result.aggregation.lost_nodes] == ["node2"]


@pytest.mark.slow
def test_a_lost_opener_costs_an_attempt_and_its_epsilon(tmp_path: Path) -> None:
    spec, lost = study(4), []

    def once(point: int, kind: str) -> bool:
        # Two rehearsals come first; the third opening of node 2 is the study's first or second.
        if (point, kind) == (2, "query.open"):
            lost.append(point)
        return (point, kind, len(lost)) == (2, "query.open", 3)

    result = run(spec, tmp_path, faults=Faults(loses_reply=once))
    assert result.aggregation.attempts == spec.training.aggregations + 1
    schedule = schedule_for(spec)
    spent = PrivacyEvent(noise_multiplier=schedule.noise_multiplier, count=result.aggregation.attempts)
    assert result.privacy.epsilon_spent == epsilon([spent], schedule.accounted_delta)
    assert result.privacy.epsilon_spent <= result.privacy.epsilon
    assert [(n.node, n.phase) for n in result.aggregation.lost_nodes] == [("node2", "open")]
    assert result.aggregation.contributors == (spec.nodes,)


class Garbling:
    """A node whose contributions to the study are altered on the way; its header is honest."""

    def __init__(self, custodian: CustodianPort) -> None:
        self._custodian = custodian
        self._proposed = False

    def answer(self, kind: PhaseKind, parts: Sequence[bytes]) -> Reply:
        self._proposed |= kind is PhaseKind.PROPOSE
        reply = self._custodian.answer(kind, parts)
        if kind is PhaseKind.CONTRIBUTE and self._proposed and reply.parts:
            return Reply(parts=(reply.parts[0], reply.parts[1][::-1]))
        return reply


def test_a_contribution_that_does_not_hold_is_named_as_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_a_garbling_node(name: str) -> Callable[..., Any]:
        build = load_app(name)
        if name != "custodian":
            return build

        def build_custodian(identity: Identity, *args: Any, **kwargs: Any) -> CustodianPort:
            custodian: CustodianPort = build(identity, *args, **kwargs)
            return Garbling(custodian) if identity.name == "node2" else custodian

        return build_custodian

    monkeypatch.setattr("fedmed.simulation.load_app", with_a_garbling_node)
    result = run(study(4), tmp_path)
    assert result.aggregation.contributors == (("node1", "node3", "node4"),)
    assert [(n.node, n.aggregation, n.phase) for n in result.aggregation.lost_nodes] == [
        ("node2", 1, "contribute")
    ]


# --- Refused before anything is spent ----------------------------------------------------------------


def refused(change: Callable[[dict[str, pa.Table]], Mapping[str, pa.Table]]) -> Callable[[Path], Result]:
    def attempt(folder: Path) -> Result:
        spec = study(3)
        return run_study(spec, change(tables(spec)), folder=folder, seed=1)

    return attempt


def test_tables_of_other_nodes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="node1"):
        refused(lambda t: {"elsewhere": t["node1"], **{k: v for k, v in t.items() if k != "node1"}})(tmp_path)


@pytest.mark.parametrize("column", ["age", "sick", "psn_no"])
def test_a_column_missing_at_one_node_is_refused_with_node_and_column(column: str, tmp_path: Path) -> None:
    with pytest.raises(DataContractError, match=rf"(?s)node2.*{column}"):
        refused(lambda t: {**t, "node2": t["node2"].drop_columns([column])})(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_order_of_the_given_tables_does_not_matter(tmp_path: Path) -> None:
    spec = study(3)
    turned = dict(reversed(tables(spec).items()))
    result = run_study(spec, turned, folder=tmp_path, seed=1)
    assert [n.key for n in result.nodes] == list(spec.nodes)


def test_an_app_that_is_not_installed_is_named() -> None:
    with pytest.raises(ConfigError, match="nothing"):
        load_app("nothing")


def test_keys_are_fresh_in_every_run() -> None:
    spec = study(3, scheme=Scheme.PLAIN)
    runs = [federate(spec, tables(spec), on_progress=lambda event: None, faults=Faults()) for _ in range(2)]
    assert runs[0].plans == runs[1].plans
    assert not np.array_equal(runs[0].parameters, runs[1].parameters)
    assert spec.data.dataset == DATASET


@pytest.mark.parametrize("homes", [1, 2])
@pytest.mark.parametrize("mode", [Mode.LOCAL, Mode.STATISTICS])
def test_every_mode_runs_under_encryption_to_a_result_with_its_arms(
    mode: Mode, homes: int, tmp_path: Path
) -> None:
    rounds = 1 if mode is Mode.STATISTICS else 2
    spec = study(
        3,
        baselines=homes == 1,
        privacy__mode=mode.value,
        privacy__max_nodes_per_person=homes,
        training__aggregations=rounds,
    )
    result = run(spec, tmp_path)
    assert result.privacy.mode is mode
    assert result.aggregation.aggregations == rounds
    assert 0 < result.privacy.epsilon_spent < spec.privacy.epsilon, "the spare attempt was not needed"
    assert result.arms.federated is not None
    if homes == 1:
        assert (result.arms.statistics is None) == (mode is Mode.STATISTICS), "no arm is the study itself"
        assert result.arms.central is not None
    if mode is Mode.LOCAL:
        assert result.privacy.fallback_epsilon == result.privacy.epsilon_spent
