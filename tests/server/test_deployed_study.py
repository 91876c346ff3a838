from __future__ import annotations

import datetime
import json
import stat
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fedmed.cli.verify import read_files
from fedmed.crypto.supernode_key import make_supernode_key, supernode_pem
from fedmed.errors import BudgetExceeded, ConfigError, StudyRefused, TooFewNodes
from fedmed.messages import Member, Roster
from fedmed.phase_record import PhaseRecord, totals
from fedmed.privacy.ledger_record import Mechanism
from fedmed.programs.statistics import result_tables
from fedmed.protocol.schedule import schedule_for
from fedmed.protocol.steps import Phase, Reply, Steps
from fedmed.release.verify import verify
from fedmed.study import StatisticsStudy, study_from_document, to_toml
from fedmed.types import Mode
from fedmed.wire import encode_roster
from fedmed_server.chronicle import Chronicle, progress, read_phases
from fedmed_server.delivery import deliver_question
from fedmed_server.deployed_study import (
    Order,
    find_nodes,
    read_failure,
    read_outcome,
    run_order,
)
from fedmed_server.driver import GridDriver
from fedmed_server.export import export
from fedmed_server.files import create_private, private_folder, replace_private
from fedmed_server.home import Home
from tests.federation import (
    COORDINATOR,
    NOW,
    OPEN_POLICY,
    Federation,
    fresh_federation,
    identity_of,
    small_study,
    small_table,
)

KEYS = {f"node{p}": make_supernode_key(f"node{p}").public_key.decode() for p in range(1, 5)}


@dataclass
class Listed:
    node_id: int
    public_key: bytes


class Nodes:
    """A grid's list of nodes that grows with each look."""

    def __init__(self, *, each_look: int) -> None:
        self._each_look, self._looks = each_look, 0
        self._all = [Listed(100 + p, supernode_pem(KEYS[f"node{p}"].encode())) for p in range(1, 5)]
        self._all.insert(0, Listed(7, b"a SuperNode that no roster names"))

    def get_nodes(self) -> list[Listed]:
        self._looks += 1
        return self._all[: self._each_look * self._looks]


class FederationDriver:
    """Drives custodians in this process in place of Flower's grid, and may be killed."""

    def __init__(
        self, federation: Federation, on_phase: Callable[[PhaseRecord], None], kill_at: str = ""
    ) -> None:
        self._federation, self._on_phase, self._kill_at = federation, on_phase, kill_at

    def run(self, steps: Steps[object]) -> object:
        return self._federation.drive(steps, tamper=self._before, garble=self._after)

    def _before(self, phase: Phase, point: int, parts: tuple[bytes, ...]) -> tuple[bytes, ...]:
        if phase.name == self._kill_at:
            raise KeyboardInterrupt
        return parts

    def _after(self, phase: Phase, point: int, reply: Reply) -> Reply:
        if point == max(phase.requests):
            by_point = dict.fromkeys(phase.requests, (10, "done"))
            self._on_phase(
                PhaseRecord(name=phase.name, seconds=1.0, bytes_down=20, bytes_up=20, by_point=by_point)
            )
        return reply


def make_home(folder: Path, roster: Roster) -> Home:
    home = Home(private_folder(folder / "home"))
    create_private(home.path / "identity.key", identity_of(COORDINATOR).private_bytes())
    create_private(home.path / "roster.bin", encode_roster(roster))
    lines = "".join(f"{name} = {json.dumps(key.strip())}\n" for name, key in KEYS.items())
    create_private(home.path / "nodes.toml", f"[keys]\n{lines}".encode())
    private_folder(home.path / "runs")
    create_private(private_folder(home.run_folder("small")) / "study.toml", to_toml(small_study(4)).encode())
    return home


def sick_visits(*, scheme: str = "threshold") -> StatisticsStudy:
    """Rows and visits of the sick and the others, exactly."""
    training = tomllib.loads(to_toml(small_study(4)))
    data, by = training["data"], [{"column": "sick", "levels": ["0", "1"]}]
    spec = study_from_document(
        {
            "study": {**training["study"], "kind": "statistics"},
            "data": {
                **{name: data[name] for name in ("dataset", "person", "min_cohort", "declared_persons")},
                "max_rows_per_person": 1,
            },
            "privacy": {"protection": "exact"},
            "aggregation": {"scheme": scheme},
            "statistics": [
                {"name": "rows", "kind": "count", "unit": "rows", "by": by},
                {"name": "visits", "kind": "sum", "by": by, "value": {"column": "visits", "high": 10}},
            ],
        }
    )
    assert isinstance(spec, StatisticsStudy)
    return spec


def order_for(home: Home, *, resume: bool = False) -> Order:
    config = {
        "coordinator-home": str(home.path),
        "study": "small",
        "resume": resume,
        "phase-deadline-s": 10.0,
        "nodes-deadline-s": 0.0,
    }
    return Order.from_config(config)


def opener(federation: Federation, kill_at: str = "") -> Callable[..., GridDriver]:
    def open_driver(directory: Mapping[int, int], on_phase: Callable[[PhaseRecord], None]) -> GridDriver:
        assert directory == {p: 100 + p for p in range(1, 5)}
        driver: GridDriver = FederationDriver(federation, on_phase, kill_at)  # type: ignore[assignment]
        return driver

    return open_driver


def test_nodes_are_found_by_their_keys_whatever_their_order() -> None:
    expected = {supernode_pem(key.encode()): int(name[-1]) for name, key in KEYS.items()}
    assert find_nodes(Nodes(each_look=5), expected, deadline_s=0) == {1: 101, 2: 102, 3: 103, 4: 104}
    assert find_nodes(Nodes(each_look=3), expected, deadline_s=5) == {1: 101, 2: 102, 3: 103, 4: 104}
    with pytest.raises(TooFewNodes, match="points 3, 4 are not online"):
        find_nodes(Nodes(each_look=3), expected, deadline_s=0)


@pytest.mark.parametrize("key", ["coordinator-home", "study", "resume", "phase-deadline-s"])
def test_a_run_configuration_that_lacks_something_is_refused(tmp_path: Path, key: str) -> None:
    config: dict[str, object] = {
        "coordinator-home": str(tmp_path),
        "study": "small",
        "resume": False,
        "phase-deadline-s": 10.0,
        "nodes-deadline-s": 1.0,
    }
    del config[key]
    with pytest.raises(ConfigError, match=key):
        Order.from_config(config)
    with pytest.raises(ConfigError, match=key):
        Order.from_config({**config, key: ""})


@pytest.mark.slow
def test_an_order_leaves_outcome_model_and_record(tmp_path: Path) -> None:
    federation, spec = fresh_federation(4), small_study(4)
    home = make_home(tmp_path, federation.roster)
    folder = home.run_folder("small")
    assert read_outcome(folder, spec) is None
    run_order(order_for(home), Nodes(each_look=5), opener(federation), today=NOW.date())
    run = read_outcome(folder, spec)
    assert run is not None
    assert len(run.history) == spec.training.aggregations == run.plans
    assert np.array_equal(run.parameters, run.history[-1])
    assert run.contributors == (spec.nodes,) * spec.training.aggregations
    assert run.epsilon_spent == pytest.approx(spec.privacy.epsilon, rel=0.7), (
        "spare attempts are planned and not spent"
    )
    assert run.totals["contribute"].seconds == spec.training.aggregations
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o600
    last = progress(spec, schedule_for(spec), read_phases(folder))
    assert (last.phase, last.rounds) == ("close", spec.training.aggregations)
    with pytest.raises(ConfigError, match="run here before"):
        run_order(order_for(home), Nodes(each_look=5), opener(federation), today=NOW.date())


@pytest.mark.slow
def test_a_killed_order_is_resumed_on_another_day_and_spends_nothing_twice(tmp_path: Path) -> None:
    federation, spec = fresh_federation(4), small_study(4)
    home = make_home(tmp_path, federation.roster)
    with pytest.raises(KeyboardInterrupt):
        run_order(order_for(home), Nodes(each_look=5), opener(federation, "open"), today=NOW.date())
    assert read_failure(home.run_folder("small")) is None, "a kill is no failure of the study"
    later = NOW.date() + datetime.timedelta(days=1)
    run_order(order_for(home, resume=True), Nodes(each_look=5), opener(federation), today=later)
    run = read_outcome(home.run_folder("small"), spec)
    assert run is not None
    assert run.plans == spec.training.aggregations
    ledgers = [len(n.effects.store.ledger()) for n in federation.nodes.values()]
    assert ledgers == [spec.training.aggregations] * 4


@pytest.mark.slow
def test_a_question_is_deployed_like_a_training_study_killed_and_resumed(tmp_path: Path) -> None:
    allowing = replace(OPEN_POLICY, modes=frozenset({Mode.STATISTICS}), exact_statistics=True)
    federation, spec = fresh_federation(4, policy=allowing), sick_visits()
    home = make_home(tmp_path, federation.roster)
    folder = home.run_folder("small")
    replace_private(folder / "study.toml", to_toml(spec).encode())
    with pytest.raises(KeyboardInterrupt):
        run_order(order_for(home), Nodes(each_look=5), opener(federation, "open"), today=NOW.date())
    run_order(order_for(home, resume=True), Nodes(each_look=5), opener(federation), today=NOW.date())
    run = read_outcome(folder, spec)
    assert run is not None
    rows = pa.concat_tables([small_table(point) for point in (1, 2, 3, 4)])
    due = [rows.filter(pc.equal(rows["sick"], sick))["visits"].to_pylist() for sick in (0, 1)]
    told = json.loads((folder / "outcome.json").read_text(encoding="utf-8"))
    counted, visits = result_tables(spec, run.state)
    assert list(counted.columns["estimate"]) == [*map(len, due), 0]
    assert list(visits.columns["units"]) == [*(int(sum(part)) for part in due), 0]
    shown = told["result"]["statistics"][0]["columns"]["estimate"]
    assert shown == [n if n >= spec.privacy.minimum_cell else None for n in (*map(len, due), 0)]
    assert told["epsilon_spent"] is None
    document = deliver_question(folder, spec)
    assert json.loads(document)["result"] == told["result"]
    assert deliver_question(folder, spec) == document, "the same whenever it is made"
    written = {"report.html", "rows.csv", "rows.parquet", "visits.csv", "visits.parquet", "result.json"}
    assert written <= {path.name for path in folder.iterdir()}
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in folder.iterdir() if path.is_file())
    with pytest.raises(ConfigError, match="--exact-sums"):
        export(home, "small", out=None)
    release = export(home, "small", out=None, exact_sums=True)
    assert stat.S_IMODE(release.stat().st_mode) == 0o600
    assert [one.name for one in verify(read_files(release))][-2:] == ["privacy", "result"]
    for node in federation.nodes.values():
        (record,) = node.effects.store.ledger()
        assert (record.mechanism, record.noise_multiplier) == (Mechanism.EXACT_SUM, 0.0)


def test_an_exact_question_needs_the_policys_own_yes(tmp_path: Path) -> None:
    federation = fresh_federation(4, policy=replace(OPEN_POLICY, modes=frozenset(Mode)))
    home = make_home(tmp_path, federation.roster)
    plain = sick_visits(scheme="plain")
    replace_private(home.run_folder("small") / "study.toml", to_toml(plain).encode())
    with pytest.raises(StudyRefused):
        run_order(order_for(home), Nodes(each_look=5), opener(federation), today=NOW.date())
    assert all(not node.effects.store.ledger() for node in federation.nodes.values())


@pytest.mark.slow
def test_a_failure_is_left_with_its_code_and_keeps_a_study_that_nobody_knows_launchable(
    tmp_path: Path,
) -> None:
    federation = fresh_federation(4)
    home = make_home(tmp_path, federation.roster)
    folder = home.run_folder("small")
    with pytest.raises(TooFewNodes):
        run_order(order_for(home), Nodes(each_look=2), opener(federation), today=NOW.date())
    assert isinstance(read_failure(folder), TooFewNodes)
    # The run has begun, and nothing was sent: it is resumed.
    run_order(order_for(home, resume=True), Nodes(each_look=5), opener(federation), today=NOW.date())
    assert read_failure(folder) is None


@pytest.mark.slow
def test_a_refused_study_is_left_as_refused(tmp_path: Path) -> None:
    strict = replace(OPEN_POLICY, max_epsilon_per_study=0.1, max_epsilon_per_year=0.1)
    federation = fresh_federation(4, policy=strict)
    home = make_home(tmp_path, federation.roster)
    with pytest.raises(BudgetExceeded):
        run_order(order_for(home), Nodes(each_look=5), opener(federation), today=NOW.date())
    failure = read_failure(home.run_folder("small"))
    assert isinstance(failure, BudgetExceeded)
    assert failure.exit_code == 4


def test_a_roster_without_a_key_for_each_node_is_refused(tmp_path: Path) -> None:
    federation = fresh_federation(4)
    home = make_home(tmp_path, federation.roster)
    replace_private(home.path / "nodes.toml", b"[keys]\n")
    with pytest.raises(ConfigError, match="no SuperNode key of node1, node2"):
        run_order(order_for(home), Nodes(each_look=5), opener(federation), today=NOW.date())


def test_a_record_that_was_cut_off_loses_its_last_line_only(tmp_path: Path) -> None:
    record = PhaseRecord(name="open", seconds=2.5, bytes_down=1, bytes_up=2, by_point={3: (3, "node_lost")})
    chronicle = Chronicle(tmp_path)
    chronicle.note(record)
    chronicle.note(record)
    chronicle.close()
    whole = (tmp_path / "phases.jsonl").read_bytes()
    (tmp_path / "phases.jsonl").write_bytes(whole[:-5])
    assert read_phases(tmp_path) == (record,)
    again = Chronicle(tmp_path)
    again.note(record)
    again.close()
    assert read_phases(tmp_path) == (record, record)
    assert totals(read_phases(tmp_path))["open"].seconds == 5.0


def test_members_are_named_in_the_order_of_the_roster() -> None:
    roster = fresh_federation(4).roster
    assert isinstance(roster.member(1), Member)
    assert [m.name for m in roster.members] == list(KEYS)
