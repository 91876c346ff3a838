"""A deployed study with canaries: documents for people, the gate before an outcome, and a kill in between."""

from __future__ import annotations

import datetime
import json
from pathlib import Path

import pytest

from fedmed.errors import AuditFailed
from fedmed.report.audit_result import AuditResult
from fedmed.study import TrainingStudy, to_toml
from fedmed.types import Scheme
from fedmed_server.delivery import deliver
from fedmed_server.deployed_study import read_failure, read_outcome, run_order
from fedmed_server.files import replace_private
from fedmed_server.home import Home
from tests.federation import NOW, Federation, fresh_federation, insecure_no_noise, small_study
from tests.server.test_deployed_study import Nodes, make_home, opener, order_for

pytestmark = pytest.mark.slow


def audited_home(folder: Path, federation: Federation) -> tuple[Home, TrainingStudy]:
    spec = small_study(4, scheme=Scheme.PLAIN, audit__canaries=400)
    home = make_home(folder, federation.roster)
    replace_private(home.run_folder("small") / "study.toml", to_toml(spec).encode())
    return home, spec


def test_an_audited_study_leaves_its_document_and_page(tmp_path: Path) -> None:
    federation = fresh_federation(4)
    home, spec = audited_home(tmp_path, federation)
    with pytest.raises(KeyboardInterrupt):
        run_order(order_for(home), Nodes(each_look=5), opener(federation, "close"), today=NOW.date())
    folder = home.run_folder("small")
    assert not (folder / "audit.json").exists()
    # The seals outlive the coordinator's process, as the coins do those of the nodes.
    for node in federation.nodes.values():
        node.restart()
    later = NOW.date() + datetime.timedelta(days=1)
    run_order(order_for(home, resume=True), Nodes(each_look=5), opener(federation), today=later)
    found = AuditResult.from_json((folder / "audit.json").read_bytes())
    assert found.passed
    assert (found.simulation, found.canaries, found.nodes) == (False, 400, spec.nodes)
    assert found.membership is None, "nobody holds the rows of all provinces"
    deliver(folder, spec)
    assert "Every check holds" in (folder / "audit.html").read_text(encoding="utf-8")


def test_a_study_whose_audit_fails_leaves_no_model(tmp_path: Path) -> None:
    federation = fresh_federation(4, noise=insecure_no_noise)
    home, spec = audited_home(tmp_path, federation)
    with pytest.raises(AuditFailed, match="noise_scale is 0"):
        run_order(order_for(home), Nodes(each_look=5), opener(federation), today=NOW.date())
    folder = home.run_folder("small")
    failure = read_failure(folder)
    assert failure is not None
    assert (failure.code, failure.exit_code) == ("audit_failed", 6)
    assert "noise_scale" in json.loads((folder / "failure.json").read_bytes())["cause"]
    assert read_outcome(folder, spec) is None
    assert not [f for f in ("model.safetensors", "result.json", "audit.json") if (folder / f).exists()]
