"""The operators' commands against a real custodian behind a real socket."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fedmed.errors import ActStale, ConfigError, RaiseRefused, SignatureNeeded, StudyRevoked
from fedmed.governance.operators import Operators
from fedmed.protocol.steps import PhaseKind
from fedmed.types import Scheme
from fedmed_nodes.cli import app
from fedmed_nodes.custodian_service import CustodianServer
from fedmed_nodes.office import Office
from fedmed_nodes.operator_commands import DECLINED
from fedmed_nodes.operator_key import create_operator_key
from fedmed_nodes.socket_gate import Admission
from tests.federation import DATASET, NOW, OPEN_POLICY, Trial, make_trial, small_study

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

POINT = 1


class Province:
    """A custodian with two operators, on a socket, and a study that waits there."""

    def __init__(self, folder: Path, *, signed: bool = True) -> None:
        first = make_trial(3, scheme=Scheme.PLAIN)
        keys = {name: create_operator_key(folder / f"{name}.key", name) for name in ("li.wei", "wang.fang")}
        operators = Operators(keys=keys, approvals_needed=2) if signed else None
        node = first.federation.nodes[POINT]
        node.with_policy(
            replace(OPEN_POLICY, max_epsilon_per_year=1.5, auto_approve=False, operators=operators)
        )
        self.folder = folder
        self.trial = Trial(first.federation, small_study(3, scheme=Scheme.PLAIN, training__learning_rate=0.5))
        self.office = Office(node.custodian, node.settings, node.effects.store)
        self.socket = folder / "c.sock"
        admission = Admission(owner=os.geteuid())
        self.server = CustodianServer(self.office, self.socket, inner=folder / "inner", admission=admission)
        self.server.start()

    def propose(self) -> str:
        return self.office.answer(PhaseKind.PROPOSE, (self.trial.proposal(),)).code

    def run(self, command: str, *words: object, by: str = "", answer: str = "") -> Result:
        key = ("--key", str(self.folder / f"{by}.key")) if by else ()
        line = [*command.split(), str(self.socket), *map(str, words), *key]
        return CliRunner().invoke(app, line, input=answer)

    def json(self, command: str, *words: object, by: str = "") -> dict[str, object]:
        result = self.run(command, *words, "--yes", "--json", by=by)
        assert result.exit_code == 0, result.output
        document: dict[str, object] = json.loads(result.stdout)
        return document


@pytest.fixture
def province(tmp_path: Path) -> Iterator[Province]:
    made = Province(tmp_path)
    assert made.propose() == "approval_pending"
    yield made
    made.server.stop()


RAISE = ("--dataset", DATASET, "--year", NOW.year, "--epsilon", 3.0, "--reason", "pilot")


def test_two_operators_read_sign_and_raise(province: Province) -> None:
    digest = province.trial.digest.hex()
    first = province.run("approve", digest, by="li.wei", answer="y\n")
    assert (first.exit_code, "signed by li.wei; 1 more must sign" in first.stdout) == (0, True)
    assert "每人 ε = 1" in first.stdout
    assert "epsilon 1 a person" in first.stdout
    second = province.json("approve", digest, by="wang.fang")
    assert (second["done"], second["signed_by"]) == (True, ["li.wei", "wang.fang"])
    refused = province.json("approve", digest, by="wang.fang")
    assert (refused["refusal"], province.propose()) == ("", "")
    assert not province.json("budget raise", *RAISE, by="li.wei")["done"]
    table = province.run("budget").stdout
    assert "li.wei (1/2)" in table
    assert province.json("budget raise", *RAISE, by="wang.fang")["done"]
    shown = json.loads(province.run("budget", "--json").stdout)
    assert (shown["datasets"][0]["cap_epsilon"], shown["raises"][0]["holds"]) == (3.0, True)
    for name in ("li.wei", "wang.fang"):
        done = province.json("revoke", digest, "--reason", "over", by=name)["done"]
    assert (done, province.propose()) == (True, "study_revoked")
    assert isinstance(province.run("approve", digest, "--yes", by="li.wei").exception, StudyRevoked)


def test_without_a_yes_or_a_key_nothing_changes(province: Province) -> None:
    digest, store = province.trial.digest.hex(), province.office._store
    for command, words in (("approve", (digest,)), ("revoke", (digest,)), ("budget raise", RAISE)):
        declined = province.run(command, *words, by="li.wei", answer="n\n")
        assert (declined.exit_code, "nothing was changed" in declined.output) == (DECLINED, True)
        assert isinstance(province.run(command, *words, "--yes").exception, SignatureNeeded)
    low = (*RAISE[:5], 1.0, *RAISE[6:])
    assert isinstance(province.run("budget raise", *low, "--yes", by="li.wei").exception, RaiseRefused)
    assert isinstance(province.run("approve", "ab", "--yes").exception, ConfigError)
    assert store.acts() == ()


def test_without_operators_in_the_policy_a_yes_is_enough(tmp_path: Path) -> None:
    province = Province(tmp_path, signed=False)
    try:
        province.propose()
        digest = province.trial.digest.hex()
        assert "no signature is needed here" in province.run("approve", digest, answer="y\n").stdout
        assert province.propose() == ""
        assert province.json("revoke", digest)["done"]
        assert province.propose() == "study_revoked"
    finally:
        province.server.stop()


def test_an_operators_key_is_made_once_and_its_line_fits_the_policy(tmp_path: Path) -> None:
    path = tmp_path / "zhao.key"
    made = CliRunner().invoke(app, ["operator-key", str(path), "--name", "zhao.min", "--json"])
    document = json.loads(made.stdout)
    assert document["line"] == f'"zhao.min" = "{document["public_key"]}"'
    again = CliRunner().invoke(app, ["operator-key", str(path), "--name", "zhao.min"])
    assert isinstance(again.exception, ConfigError)
    assert issubclass(ActStale, ConfigError), "all of these end with exit code 2"
