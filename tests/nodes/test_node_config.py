"""The operator's two files: templates that load, faults that name the key, and nothing silently read."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedmed.errors import ConfigError
from fedmed.governance.policy import Policy
from fedmed.types import Scheme
from fedmed_nodes.node_config import NODE_TEMPLATE, POLICY_TEMPLATE, load_node, load_policy, socket_of


def written(folder: Path, text: str) -> Path:
    path = folder / "file.toml"
    path.write_text(text)
    return path


def test_the_templates_load_as_they_are(tmp_path: Path) -> None:
    node = load_node(written(tmp_path, NODE_TEMPLATE.format(user='"fedmed"')))
    assert (node.user, node.roster_digest, node.dataset) == ("fedmed", "", ())
    assert socket_of(node, tmp_path) == tmp_path / "run" / "custodian.sock"
    policy = load_policy(written(tmp_path, POLICY_TEMPLATE))
    assert policy == Policy(max_epsilon_per_study=1.0, max_epsilon_per_year=2.0)


def test_all_that_the_templates_explain_can_be_set(tmp_path: Path) -> None:
    def uncommented(text: str) -> str:
        lines = [
            line.removeprefix("# ") if " = " in line or "[[" in line else line for line in text.split("\n")
        ]
        return "\n".join(lines)

    node = load_node(written(tmp_path, uncommented(NODE_TEMPLATE.format(user='"fedmed"'))))
    assert (node.socket.group, node.dataset[0].data_year) == ("fedmed", 2025)
    assert load_policy(written(tmp_path, uncommented(POLICY_TEMPLATE))).schemes == {Scheme.THRESHOLD}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("max_epsilon_per_yaer = 2.0", "did you mean max_epsilon_per_year?"),
        ("seed = 1", "unknown key"),
        ('schemes = ["plian"]', "schemes"),
        ("min_contributors = 2", "min_contributors: must be >= 3"),
        ("research = 1", "research"),
        ("max_epsilon_per_study = 3.0", "must be <= the year's"),
        ('purposes = ["fun"]', "unknown purposes"),
    ],
)
def test_a_fault_in_the_policy_names_its_key(tmp_path: Path, line: str, said: str) -> None:
    values = {"version": "1", "max_epsilon_per_study": "1.0", "max_epsilon_per_year": "2.0"}
    key, _, value = line.partition(" = ")
    values[key] = value
    text = "\n".join(f"{k} = {v}" for k, v in values.items())
    with pytest.raises(ConfigError) as fault:
        load_policy(written(tmp_path, text))
    assert said in str(fault.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 2\nuser = 'x'", "version"),
        ("version = 1", "user: is missing"),
        ("version = 1\nuser = 'x'\nroster_digest = 'AB'", "roster_digest"),
        ("version = 1\nuser = 'x'\n[socket]\npath = 'run/c.sock'", "socket.path"),
        ("version = 1\nuser = 'x'\n[socket]\ngruop = 'g'", "did you mean group?"),
        ("version = ", "not TOML"),
    ],
)
def test_a_fault_in_the_nodes_settings_names_its_key(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as fault:
        load_node(written(tmp_path, text))
    assert said in str(fault.value)


def test_two_datasets_of_one_name_are_refused(tmp_path: Path) -> None:
    table = "[[dataset]]\nname = 'a'\npath = 'a.csv'\ndeclared_persons = 5\ndata_year = 2025\n"
    with pytest.raises(ConfigError, match="stands there twice"):
        load_node(written(tmp_path, f"version = 1\nuser = 'x'\n{table}{table}"))
    with pytest.raises(ConfigError, match="fedmed node init"):
        load_node(tmp_path / "missing.toml")
