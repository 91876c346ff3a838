from __future__ import annotations

import datetime
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from fedmed.governance.audit_chain import AuditEntry, AuditEvent, AuditKind
from fedmed.protocol import envelope
from fedmed.protocol.steps import PhaseKind
from fedmed.socket_messages import StudyBudget, StudyStanding
from fedmed.supervision.processes import free_ports
from fedmed.types import Scheme
from fedmed_nodes.courier import Courier
from fedmed_nodes.office import Office
from fedmed_nodes.status_view import door_document, status_document, status_lines, study_document
from fedmed_server.authority import issue_server, make_authority
from tests.federation import COORDINATOR, make_trial
from tests.nodes.test_courier import SETTINGS, make

NOW = datetime.datetime.now(tz=datetime.UTC)
STUDY = bytes(range(32))


def entry(counter: int, kind: AuditKind, detail: str = "", *, study: bytes = STUDY) -> AuditEntry:
    event = AuditEvent(at="2026-03-01T08:00:00+08:00", kind=kind, study=study.hex(), detail=detail)
    return AuditEntry(counter=counter, previous_head=bytes(32), event=event, signature=bytes(64))


def budget(standing: StudyStanding) -> StudyBudget:
    return StudyBudget(
        study_digest=STUDY,
        id="s",
        title="A study",
        standing=standing,
        reserved_epsilon=1.0,
        spent_epsilon=0.5,
        delta=1e-6,
    )


ACCEPTED = entry(1, AuditKind.ACCEPTED, "study")
PLANNED = entry(2, AuditKind.ACCEPTED, "plan of round 2 of 9 attempt 1")
OPENED = entry(3, AuditKind.OPENED)
ENDED = entry(4, AuditKind.EPOCH_DESTROYED)


@pytest.mark.parametrize(
    ("standing", "entries", "state"),
    [
        (StudyStanding.WAITING, [], "waiting for approval"),
        (StudyStanding.RESERVED, [ACCEPTED], "approved, not begun"),
        (StudyStanding.RESERVED, [ACCEPTED, PLANNED], "running"),
        (StudyStanding.RESERVED, [ACCEPTED, PLANNED, OPENED, ENDED], "done"),
        (StudyStanding.RESERVED, [ACCEPTED, ENDED], "over before its first round"),
        (StudyStanding.RESERVED, [ACCEPTED, PLANNED, ENDED, ACCEPTED], "running"),
    ],
)
def test_a_studys_state_follows_from_budget_and_audit_log(
    standing: StudyStanding, entries: list[AuditEntry], state: str
) -> None:
    told = study_document(budget(standing), entries)
    assert told["state"] == state
    assert (told["round"], told["rounds"]) == ((2, 9) if PLANNED in entries else (0, 0))
    assert told["opened"] == (1 if OPENED in entries else 0)


@pytest.mark.parametrize(
    ("detail", "where"),
    [("plan of round 2 of 9 attempt 1", "round 2 of 9, 1"), ("plan of round 2 attempt 1", "round 2, 1")],
)
def test_the_line_of_a_running_study_says_which_round_of_how_many(detail: str, where: str) -> None:
    entries = [ACCEPTED, entry(2, AuditKind.ACCEPTED, detail), OPENED]
    studies = [study_document(budget(StudyStanding.RESERVED), entries)]
    custodian = {
        "answers": True,
        "node": "n",
        "roster_digest": "",
        "datasets": [],
        "audit": None,
        "refused": [],
    }
    lines = status_lines({"custodian": {**custodian, "studies": studies}, "faults": []})
    assert f"study       s: running, {where} sums opened here" in lines


def test_another_studys_entries_say_nothing_of_this_one() -> None:
    other = [entry(1, AuditKind.ACCEPTED, "plan of round 3 attempt 1", study=bytes(32))]
    assert study_document(budget(StudyStanding.RESERVED), other)["round"] == 0
    for whose in (bytes(32), b""):
        end = entry(4, AuditKind.EPOCH_DESTROYED, study=whose)
        assert study_document(budget(StudyStanding.RESERVED), [ACCEPTED, PLANNED, end])["state"] == "running"


def test_a_node_where_a_study_waits_says_what_to_run_and_not_that_all_is_well() -> None:
    custodian = {
        "answers": True,
        "node": "n",
        "roster_digest": "",
        "datasets": [],
        "audit": None,
        "refused": [],
    }
    for standing, last in (
        (StudyStanding.WAITING, f">> study s waits for you: fedmed node approve HOME {STUDY.hex()}"),
        (StudyStanding.RESERVED, "all well"),
    ):
        told = {**custodian, "studies": [study_document(budget(standing), [])]}
        assert status_lines({"custodian": told, "faults": []}).splitlines()[-1] == last


@pytest.mark.slow
def test_what_a_custodian_writes_at_the_end_of_a_study_reads_as_done() -> None:
    trial = make_trial(scheme=Scheme.PLAIN)
    node = trial.federation.nodes[2]
    trial.begin()
    office = Office(node.custodian, node.settings, node.effects.store)
    (before,) = [study_document(line, node.audit) for line in office.budget().studies]
    end = trial.federation.sign(COORDINATOR, envelope.STUDY_END, trial.epoch_id, context=trial.digest)
    assert trial.federation.ask(2, PhaseKind.CLOSE, end).parts == (b"closed",)
    (after,) = [study_document(line, node.audit) for line in office.budget().studies]
    assert (before["state"], after["state"], after["round"]) == ("running", "done", 1)


@contextmanager
def front_door(folder: Path, *, name: str, now: datetime.datetime) -> Iterator[Courier]:
    """A courier whose front door shows a certificate for ``name``, issued at ``now``."""
    authority = make_authority("test", now=NOW)
    server = issue_server(authority, [name], now=now)
    for file, data in (("s.pem", server.certificate), ("s.key", server.private_key)):
        (folder / file).write_bytes(data)
    (folder / "ca.crt").write_bytes(authority.certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "s.pem", folder / "s.key")
    with socket.create_server(("127.0.0.1", 0)) as door:
        address = f"localhost:{door.getsockname()[1]}"
        settings = SETTINGS.model_copy(update={"front_door": address})
        make(folder / "courier", authority=folder / "ca.crt", settings=settings)

        def answer() -> None:
            try:
                with context.wrap_socket(door.accept()[0], server_side=True) as caller:
                    caller.recv(1)
            except OSError:
                return

        thread = threading.Thread(target=answer)
        thread.start()
        yield Courier(folder / "courier")
        thread.join(5)


def test_a_front_door_is_reached_and_its_certificates_are_counted(tmp_path: Path) -> None:
    with front_door(tmp_path, name="localhost", now=NOW) as courier:
        told = door_document(courier, now=NOW)
    assert told["reachable"]
    assert (told["certificate_days"], told["authority_days"]) in ((396, 3649), (397, 3650))


@pytest.mark.parametrize(
    ("name", "age_days", "why"), [("other.example", 0, "ostname mismatch"), ("localhost", 500, "expired")]
)
def test_a_certificate_that_does_not_hold_says_why(
    tmp_path: Path, name: str, age_days: int, why: str
) -> None:
    with front_door(tmp_path, name=name, now=NOW - datetime.timedelta(days=age_days)) as courier:
        told = door_document(courier, now=NOW)
    assert not told["reachable"]
    assert why in told["why"]


def test_a_node_that_is_down_says_what_is_missing_and_how_to_mend_it(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = SETTINGS.model_copy(update={"front_door": f"localhost:{port}", "socket": str(tmp_path / "c")})
    (tmp_path / "ca.crt").write_bytes(make_authority("test", now=NOW - datetime.timedelta(3640)).certificate)
    make(tmp_path / "courier", authority=tmp_path / "ca.crt", settings=settings)
    document: dict[str, Any] = status_document(tmp_path / "courier", courier=None, now=NOW)
    json.dumps(document)
    text = status_lines(document)
    down = "relay, SuperNode and SuperExec do not run; start them"
    for words in (down, "is not reached", "authority days: 9 left", "no custodian at"):
        assert f"!! {words}" in text.replace(f"the front door localhost:{port} is", "is")
    assert "custodian does not run" not in text, "another service runs it"
