"""Releases of statistics, regression and survival: verified whole, and refused after any change."""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from fedmed.errors import ReleaseBroken
from fedmed.outcome import FederatedRun
from fedmed.phase_record import spent
from fedmed.programs.by_kind import program_for
from fedmed.programs.regression import INPUTS as TRACED
from fedmed.programs.statistics import published, statistics_document
from fedmed.question import question_document
from fedmed.release.answered import require_same
from fedmed.release.bundle import EARLIER, INPUTS, MODEL, Material, make_bundle
from fedmed.release.exchange import witnessed
from fedmed.release.payloads import retained
from fedmed.release.verify import verify
from fedmed.study import (
    RegressionStudy,
    StatisticsStudy,
    StudySpec,
    canonical_bytes,
    study_from_document,
    to_toml,
)
from fedmed.types import Mode
from fedmed_nodes.sources import TableSource
from fedmed_server.study_flow import StudyRun, conduct
from tests.federation import (
    COORDINATOR,
    NOW,
    OPEN_POLICY,
    fresh_federation,
    identity_of,
    insecure_no_noise,
)
from tests.fedmed.release.conftest import ENDED, Kept
from tests.small_question import COST, DECLARED, STAYS, small_question, stays

# Each study behind these takes about a second.
pytestmark = pytest.mark.slow

OUTCOME = {"column": "cost", "high": 600}
TERMS = [{"column": "age", "low": 0, "high": 1}, {"column": "sex", "levels": ["f", "m"]}]
TIME = {"column": "cost", "event": "sick", "interval": 100, "intervals": 5}


def rows(point: int) -> pa.Table:
    """One row a person, with a cost that can be a count, a time or an amount."""
    table, rng = stays(point), np.random.default_rng(point)
    table = table.drop(["psn_no", "cost"]).append_column("age", pa.array(rng.uniform(0, 1, table.num_rows)))
    table = table.append_column("psn_no", pa.array([f"{point}-{n}" for n in range(table.num_rows)]))
    table = table.append_column("cost", pa.array(np.round(rng.uniform(1, 599, table.num_rows))))
    return table.append_column("sick", pa.array(rng.integers(0, 2, table.num_rows).astype(float)))


def another(kind: str, section: Mapping[str, Any], *, epsilon: float | None = None) -> StudySpec:
    """The small question's frame around another kind of study."""
    document = tomllib.loads(to_toml(small_question(study__expires="2026-12-31")))
    privacy = {"protection": "exact"} if epsilon is None else {"epsilon": epsilon}
    made = {
        "study": {**document["study"], "kind": kind},
        "data": {k: v for k, v in document["data"].items() if k not in ("max_rows_per_person",)},
        "privacy": privacy,
        "aggregation": {"scheme": "plain"},
        kind: section,
    }
    made["data"]["declared_persons"] = dict.fromkeys(document["data"]["declared_persons"], 90)
    return study_from_document(made)


def study(name: str) -> StudySpec:
    """One study for each way in which an answer is made."""
    poisson = {"family": "poisson", "outcome": OUTCOME, "terms": TERMS}
    noisy = {"family": "logistic", "outcome": {"column": "sick"}, "terms": TERMS[1:], "rounds": 3}
    made: Mapping[str, Any] = {
        "exact statistics": lambda: small_question(study__expires="2026-12-31"),
        "noisy statistics": lambda: small_question(
            statistics=[STAYS, COST], privacy__epsilon=2.0, study__expires="2026-12-31"
        ),
        "exact regression": lambda: another("regression", poisson),
        "noisy regression": lambda: another("regression", noisy, epsilon=20.0),
        "cox": lambda: another("regression", {"family": "cox", "time": TIME, "terms": TERMS}),
        "survival": lambda: another("survival", {"time": TIME, "min_cell": 5}),
    }
    spec: StudySpec = made[name]()
    return spec


def run_material(spec: StudySpec, *, earlier: tuple[Mapping[str, Any], ...] = ()) -> Material:
    """Run a study with real custodians and keep what its release is made of."""
    policy = dataclasses.replace(
        OPEN_POLICY,
        modes=frozenset(Mode),
        exact_statistics=True,
        min_cell=5,
        max_epsilon_per_study=100.0,
        max_epsilon_per_year=100.0,
    )
    # Draws of 0, so that no test depends on luck; what is verified does not ask how noise was drawn.
    federation, lines = fresh_federation(4, policy=policy, noise=insecure_no_noise), []
    is_statistics = isinstance(spec, StatisticsStudy)
    for point, node in federation.nodes.items():
        table, declared = (stays(point), DECLARED) if is_statistics else (rows(point), 90)
        node.with_source(TableSource(table, declared_persons=declared, data_year=NOW.year))
    run = StudyRun(spec=spec, identity=identity_of(COORDINATOR), roster=federation.roster, today=NOW.date())
    kept = Kept()
    steps = retained(conduct(run, on_state=kept.on_state), kept.retain, scheme=spec.aggregation.scheme)
    outcome = federation.drive(witnessed(steps, lambda exchange: lines.append(exchange.to_line())))
    done = FederatedRun(
        state=outcome.state,
        history=(),
        contributors=tuple(tuple(spec.nodes[p - 1] for p in r.contributors) for r in outcome.rounds),
        plans=outcome.plans,
        lost=(),
        totals={},
        seconds=1.0,
        epsilon_spent=spent(outcome.schedule, outcome.plans),
    )
    document = dict(question_document(spec, outcome.schedule, done, ended=ENDED, simulation=False))
    if isinstance(spec, StatisticsStudy) and spec.privacy.is_exact:
        document["result"] = statistics_document(spec, published(spec, done.state, earlier=earlier).tables)
    program = program_for(spec)
    traces = (program.trace(program.begin()), *(r.trace for r in outcome.rounds[:-1]))
    return Material(
        canonical=canonical_bytes(spec),
        roster=federation.roster,
        exchanges=tuple(lines),
        sums=tuple(r.fields for r in outcome.rounds),
        result=json.dumps(document).encode(),
        inputs=tuple(t[TRACED] for t in traces) if isinstance(spec, RegressionStudy) else (),
        earlier=earlier,
        payloads=kept.payloads,
    )


NAMES = (
    *("exact statistics", "noisy statistics", "exact regression", "noisy regression", "cox", "survival"),
)


@functools.cache
def material_of(name: str) -> Material:
    """Of each study, run once."""
    return run_material(study(name))


def held(material: Material) -> dict[str, str]:
    files = make_bundle(material, identity_of(COORDINATOR))
    return {one.name: one.detail for one in verify(files)}


def refused(material: Material) -> str:
    with pytest.raises(ReleaseBroken) as fault:
        held(material)
    return str(fault.value)


@pytest.mark.parametrize("name", NAMES)
def test_the_result_is_made_anew_from_the_opened_sums(name: str) -> None:
    found = held(material_of(name))
    assert list(found)[-3:] == ["end", "privacy", "result"]
    assert "recomputed from the sums" in found["result"]
    assert ("no epsilon" in found["privacy"]) == ("noisy" not in name)


def changed(value: Any) -> Any:
    """Another value of the same type, or a number in place of a blank."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return value + type(value)(1) if value < 1e9 else value * type(value)(2)
    return 12 if value is None else f"{value}x"


def leaf_mutations(document: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The document with one value changed, for every value in it."""
    pairs = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in list(pairs):
        where = f"{place}.{key}"
        if isinstance(value, dict | list):
            for told, inner in leaf_mutations(value, where):
                made = copy.copy(document)
                made[key] = inner
                yield told, made
        else:
            made = copy.copy(document)
            made[key] = changed(value)
            yield where, made


@pytest.mark.parametrize("name", NAMES)
def test_every_number_and_every_blank_of_the_answer_counts(name: str) -> None:
    """The comparison itself, on every value; a few of them through a whole bundle signed anew."""
    told = json.loads(material_of(name).result)["result"]
    every = list(leaf_mutations(told))
    assert len(every) > 15
    for place, mutated in every:
        with pytest.raises(ReleaseBroken, match=re.escape(place.split(".")[1])):
            require_same(mutated, told, place="result")
    for _, mutated in every[:: max(1, len(every) // 3)]:
        document = {**json.loads(material_of(name).result), "result": mutated}
        said = refused(dataclasses.replace(material_of(name), result=json.dumps(document).encode()))
        assert said.startswith("result.json: result.")


@pytest.mark.parametrize("name", NAMES)
def test_sums_that_were_changed_give_another_answer(name: str) -> None:
    material = material_of(name)
    last = material.sums[-1].copy()
    # An exact fit counts in units of 1e-9 or so, which a table of coefficients does not show: an eighth more.
    last += last // np.uint64(8) + np.uint64(1)
    assert "opened" in refused(dataclasses.replace(material, sums=(*material.sums[:-1], last)))
    assert "sums" in refused(dataclasses.replace(material, sums=(*material.sums, last)))
    assert "sums" in refused(dataclasses.replace(material, sums=material.sums[:-1]))


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        ("study", "owner", "somebody else"),
        ("study", "digest", "00" * 32),
        ("privacy", "exact", False),
        ("privacy", "colluders", 0),
        ("aggregation", "attempts", 7),
        ("aggregation", "contributors", [["node1", "node2", "node3"]]),
        ("columns", "cost", {"en": "Something else", "zh": "别的", "unit": "", "codes": {}}),
    ],
)
def test_a_result_that_says_otherwise_is_refused(section: str, key: str, value: object) -> None:
    document = json.loads(material_of("survival").result)
    document[section][key] = value
    said = refused(dataclasses.replace(material_of("survival"), result=json.dumps(document).encode()))
    assert said.startswith(f"result.json: {section}")


def test_a_result_has_no_further_parts_and_no_name_twice() -> None:
    material = material_of("survival")
    document = json.loads(material.result)

    def said(result: object) -> str:
        data = result if isinstance(result, bytes) else json.dumps(result).encode()
        return refused(dataclasses.replace(material, result=data))

    assert "other parts" in said({**document, "arms": {}})
    assert "aggregation has other parts" in said(
        {**document, "aggregation": {**document["aggregation"], "epsilon": 0.1}}
    )
    assert "aggregation has other parts" in said({**document, "aggregation": []})
    assert "other parts" in said({name: part for name, part in document.items() if name != "result"})
    assert "twice" in said(b'{"result": {}, ' + material.result[1:])


@pytest.mark.parametrize("name", ["exact regression", "noisy regression"])
def test_the_points_of_a_regression_are_those_that_the_sums_give(name: str) -> None:
    """Last digits may be another machine's; a larger step, or one that no plan names, may not."""
    material = material_of(name)
    far = (material.inputs[0], material.inputs[1] + 0.01, *material.inputs[2:])
    assert "inputs.safetensors, round 2: it is not what" in refused(dataclasses.replace(material, inputs=far))
    near = (material.inputs[0], material.inputs[1] + 1e-9, *material.inputs[2:])
    assert "plan of round 2" in refused(dataclasses.replace(material, inputs=near))
    fewer = dataclasses.replace(material, inputs=material.inputs[:1])
    assert "round 2: it is missing" in refused(fewer)


def test_earlier_publications_are_named_and_read() -> None:
    """Blanks are decided with them, so they belong to the release of an exact statistics study."""
    material = material_of("exact statistics")
    assert json.loads(make_bundle(material, identity_of(COORDINATOR))[EARLIER]) == []
    spoilt = dataclasses.replace(material, earlier=({"version": 1, "statistics": "x"},))
    assert refused(spoilt).startswith("earlier.json: ")


def test_a_file_of_another_kind_does_not_belong() -> None:
    files = make_bundle(material_of("exact regression"), identity_of(COORDINATOR))
    assert INPUTS in files
    assert MODEL not in files
    assert EARLIER not in files
