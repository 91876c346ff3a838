import json
import subprocess
import sys
from pathlib import Path

import pytest

from fedmed.catalogue.document import open_catalogue
from fedmed.data.feature_sets.definition import packaged_feature_set
from fedmed.data.feature_sets.stays import StayTable, stays_reference
from fedmed.errors import DataContractError
from fedmed_nodes.catalogue_desk import make_catalogue, policy_rules, signing_identity
from fedmed_nodes.home import create_home
from fedmed_nodes.node_config import NODE_FILE, POLICY_FILE, load_policy
from tests.claims_tables import write_tables
from tests.derived_claims import province
from tests.node_home import me

SET = packaged_feature_set()
POLICY = """\
version = 1
max_epsilon_per_study = 1.0
max_epsilon_per_year = 2.0
denied_columns = ["own_cost"]
grades = ["public", "sensitive"]
purposes = ["supervision"]
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    place = tmp_path / "home"
    create_home(place, "node1", user=me())
    claims = {name: rows for name, rows in province().items() if name in SET.needs}
    write_tables(tmp_path / "claims", claims)
    settings = f"""\
version = 1
user = "{me().pw_name}"
[[dataset]]
name = "person_year"
features = "person_year"
regions = ["310000"]
claims = "{tmp_path / "claims"}"
declared_persons = 60
data_year = 2024
[[dataset]]
name = "first_stay"
features = "first_stay"
regions = ["310000"]
claims = "{tmp_path / "claims"}"
declared_persons = 60
data_year = 2024
last_day = 2024-12-31
[[dataset]]
name = "setl"
path = "nowhere.parquet"
declared_persons = 60
data_year = 2024
columns = ["psn_no", "age", "hosp_lv", "odd"]
"""
    (place / NODE_FILE).write_text(settings)
    (place / POLICY_FILE).write_text(POLICY)
    return place


@pytest.mark.slow
def test_a_catalogue_says_what_policy_settings_and_schema_say(home: Path) -> None:
    place, made = make_catalogue(home)
    derived, stays, plain = made.datasets
    assert made.node == "node1"
    assert made.rules["purposes"] == ("supervision",)
    assert made.rules["grades"] == ("public", "sensitive")
    assert [column.name for column in derived.columns] == list(SET.columns)
    assert derived.feature_set == SET.reference
    assert {c.name for c in derived.columns if c.refusal} == {"own_cost"}
    assert set(derived.tables.values()) == {"under 1,000"}, "no small number shows"
    assert not derived.is_registered
    assert stays.feature_set == stays_reference(StayTable.FIRST_STAY)
    assert all(column.zh and column.en and column.kind for column in stays.columns)
    by_name = {column.name: column for column in plain.columns}
    assert by_name["hosp_lv"].grade == "public"
    assert by_name["odd"].refusal == "carries no grade"
    assert by_name["psn_no"].refusal == "", "it is only grouped by"
    identity = signing_identity(place)
    assert identity.name == "node1"


def test_rules_have_the_same_names_for_every_policy(tmp_path: Path) -> None:
    (tmp_path / POLICY_FILE).write_text(POLICY)
    tight = policy_rules(load_policy(tmp_path / POLICY_FILE))
    (tmp_path / POLICY_FILE).write_text(POLICY.split("denied")[0])
    loose = policy_rules(load_policy(tmp_path / POLICY_FILE))
    assert list(tight) == list(loose)
    assert loose["purposes"] == loose["grades"] == ("all",)


@pytest.mark.slow
def test_claims_that_are_not_there_are_said(home: Path, tmp_path: Path) -> None:
    (tmp_path / "claims").rename(tmp_path / "elsewhere")
    with pytest.raises(DataContractError, match="no such folder"):
        make_catalogue(home)


@pytest.mark.slow
def test_the_command_writes_page_and_signed_file(home: Path, tmp_path: Path) -> None:
    page, signed = tmp_path / "page.html", tmp_path / "node1.catalogue.json"
    code = "from fedmed.cli import main; main()"
    words = ["node", "catalogue", str(home), "--html", str(page), "--out", str(signed), "--json"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True)
    place, _ = make_catalogue(home)
    found = open_catalogue(signed.read_text(), place.card())
    document = json.loads(done.stdout)
    assert document["node"] == found.node
    assert len(document["datasets"]) == len(found.datasets)
    assert "可申请的数据" in page.read_text(encoding="utf-8")
