"""How a node stands, as its operator reads it during a study: no rows, no counts of people, no keys."""

from __future__ import annotations

import datetime
import re
import socket
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from fedmed.errors import ApprovalPending, CustodianUnreachable
from fedmed.governance.audit_chain import AuditEntry, AuditKind
from fedmed.protocol.steps import PhaseKind
from fedmed.socket_messages import Budget, StudyBudget, StudyStanding
from fedmed.supervision.processes import is_there
from fedmed_nodes.courier import Courier
from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.watchdog import accepts, parts_of

# The custodian is not among them: it may be a service of its own, and whether it answers says more.
WANTED: Final = ("relay", "supernode", "superexec")
_PATIENCE_S, _ANSWERS_WITHIN_S = 3.0, 30.0
_DOOR_S: Final = 5.0
_SOON_DAYS: Final = 30
_REFUSALS: Final = 3
# Entries of the first version do not say of how many.
_ROUND: Final = re.compile(r"plan of round (\d+)(?: of (\d+))?")

Document = dict[str, Any]
"""JSON values."""


def status_document(place: Path, *, courier: Path | None, now: datetime.datetime) -> Document:
    """Ask everything that an operator wants to know.

    Args:
        place: A home, a courier's folder, or a custodian's socket: then only the custodian is asked.
        courier: The home's courier, where it lies elsewhere.
        now: The time, with its zone.

    Returns:
        ``processes``, ``front_door`` (both empty for a socket), ``custodian``; ``faults`` in words.

    Raises:
        ConfigError: nothing of a node is there.
    """
    if place.is_socket():
        custodian = custodian_document(place)
        return {"custodian": custodian, "faults": _faults({}, {}, custodian, wanted=())}
    _, flower = parts_of(place, courier)
    processes = processes_document(flower)
    door = door_document(flower, now=now)
    custodian = custodian_document(Path(flower.settings().socket))
    faults = _faults(processes, door, custodian, wanted=WANTED)
    return {"processes": processes, "front_door": door, "custodian": custodian, "faults": faults}


def processes_document(courier: Courier) -> Document:
    """Process ids by name, of those that run; empty when the node is down."""
    return {name: pid for name, pid in courier.run_folder.processes().items() if is_there(pid)}


def door_document(courier: Courier, *, now: datetime.datetime) -> Document:
    """Whether the front door is reached and trusted, and how long certificates last.

    Args:
        courier: Names the front door and the authority.
        now: The time, with its zone.

    Returns:
        ``address``, ``reachable``, ``why`` it is not, ``certificate_days`` and ``authority_days``, None where
        not known.
    """
    address = courier.settings().front_door
    told: Document = {"address": address, "reachable": False, "why": "", "certificate_days": None}
    told["authority_days"] = _authority_days(courier.authority, now)
    if not address or told["authority_days"] is None:
        return told | {"why": "front_door or ca.crt is not set"}
    host, _, port = address.rpartition(":")
    try:
        context = ssl.create_default_context(cafile=str(courier.authority))
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout=_DOOR_S) as plain,
            context.wrap_socket(plain, server_hostname=host.strip("[]")) as door,
        ):
            ends = str((door.getpeercert() or {}).get("notAfter", ""))
    except ssl.SSLCertVerificationError as fault:
        return told | {"why": f"its certificate does not hold: {fault.verify_message}"}
    except OSError as fault:
        return told | {"why": fault.strerror or type(fault).__name__}
    until = datetime.datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), tz=datetime.UTC)
    return told | {"reachable": True, "certificate_days": (until - now).days}


def custodian_document(path: Path) -> Document:
    """What the custodian says of itself, its budget and its studies; asked as an operator.

    Args:
        path: Its socket.
    """
    if not accepts(path):
        return {
            "answers": False,
            "why": f"no custodian at {path}: start it (systemctl start fedmed-custodian, or fedmed node up), "
            "or ask as a user who may call it",
        }
    client = SocketCustodian(path, patience_s=_PATIENCE_S, deadline_s=_ANSWERS_WITHIN_S)
    try:
        card, view = client.catalogue(), client.budget()
        entries = [AuditEntry.from_bytes(data) for data in client.audit()]
    except CustodianUnreachable as fault:
        return {"answers": False, "why": str(fault)}
    finally:
        client.close()
    last = entries[-1] if entries else None
    return {
        "answers": True,
        "node": card.node,
        "roster_digest": card.roster_digest.hex(),
        "datasets": datasets_document(view),
        "withheld": {one.name: one.withheld for one in card.datasets if one.withheld},
        "studies": [study_document(study, entries) for study in view.studies],
        "refused": refused_document(entries),
        "last_entry_at": None if last is None else last.event.at,
        "audit": None if last is None else {"counter": last.counter, "head": last.head.hex()},
    }


def datasets_document(view: Budget) -> list[Document]:
    """What is left of each dataset's year."""
    return [
        {
            "dataset": d.name,
            "data_year": d.data_year,
            "cap_epsilon": d.cap_epsilon,
            "left_epsilon": d.left_epsilon,
        }
        for d in view.datasets
    ]


def refused_document(entries: Sequence[AuditEntry]) -> list[Document]:
    """The last proposals that this node refused, the newest last, each study once.

    Args:
        entries: The audit chain, in order.

    Returns:
        Study, code, rule and when, of at most `_REFUSALS`; without those that were accepted later on or wait
        for the operator.
    """
    found: dict[str, AuditEntry] = {}
    for entry in entries:
        event = entry.event
        if not event.study:
            continue
        found.pop(event.study, None)
        proposed = event.detail.startswith(PhaseKind.PROPOSE.value)
        if event.kind is AuditKind.REFUSED and proposed and event.code != ApprovalPending.code:
            found[event.study] = entry
    return [
        {
            "study": study,
            "code": entry.event.code,
            "why": entry.event.detail.removeprefix(f"{PhaseKind.PROPOSE.value}: "),
            "at": entry.event.at,
        }
        for study, entry in list(found.items())[-_REFUSALS:]
    ]


def study_document(study: StudyBudget, entries: Sequence[AuditEntry]) -> Document:
    """How far a study got here.

    Args:
        study: Its line of the budget.
        entries: The audit chain, in order.

    Returns:
        ``state`` in words, the ``round`` of the last plan that was accepted and the study's ``rounds`` (0
        before the first plan), how many sums this node helped to open, and what is spent and reserved.
    """
    digest = study.study_digest.hex()
    own = [entry for entry in entries if entry.event.study == digest]
    plans = [found.groups("0") for e in own if (found := _ROUND.match(e.event.detail))]
    round_number, rounds = map(int, plans[-1]) if plans else (0, 0)
    turns = [e.event.kind for e in own if e.event.kind in (AuditKind.ACCEPTED, AuditKind.EPOCH_DESTROYED)]
    # Its own end only: other studies' epochs end too. One that was accepted again after its end goes on.
    ended = turns[-1:] == [AuditKind.EPOCH_DESTROYED]
    return {
        "id": study.id,
        "title": study.title,
        "study": digest,
        "state": _state(study.standing, is_begun=bool(plans), is_ended=ended),
        "round": round_number,
        "rounds": rounds,
        "opened": sum(e.event.kind is AuditKind.OPENED for e in own),
        "spent_epsilon": study.spent_epsilon,
        "reserved_epsilon": study.reserved_epsilon,
        "last_entry_at": own[-1].event.at if own else None,
    }


def _state(standing: StudyStanding, *, is_begun: bool, is_ended: bool) -> str:
    """A study's state in words; what is not yet or no longer in work is what its standing says."""
    if is_begun and is_ended and standing is not StudyStanding.REVOKED:
        return "done"
    if standing is not StudyStanding.RESERVED:
        return str(standing.value)
    if is_begun:
        return "running"
    return "over before its first round" if is_ended else "approved, not begun"


def _authority_days(path: Path, now: datetime.datetime) -> int | None:
    """Days that the authority's certificate still holds."""
    try:
        return (x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc - now).days
    except (OSError, ValueError):
        return None


def _faults(processes: Document, door: Document, custodian: Document, *, wanted: Sequence[str]) -> list[str]:
    """What an operator should look at, in words."""
    missing = [name for name in wanted if name not in processes]
    faults = [f"{name} does not run; it is started again within a minute, see its log" for name in missing]
    if missing and not processes:
        faults = [
            "relay, SuperNode and SuperExec do not run; start them: systemctl start fedmed-courier, or "
            "fedmed node up"
        ]
    if door and not door["reachable"]:
        faults.append(f"the front door {door['address']} is not reached: {door['why']}")
    for name in ("certificate_days", "authority_days"):
        days = door.get(name)
        if days is not None and days < _SOON_DAYS:
            faults.append(f"{name.replace('_', ' ')}: {days} left; ask the coordinator for a new one")
    if not custodian["answers"]:
        faults.append(str(custodian["why"]))
    withheld = custodian.get("withheld", {})
    faults += [f"dataset {name} is not served: {cause}" for name, cause in withheld.items()]
    return faults


def status_lines(document: Mapping[str, Any]) -> str:
    """A `status_document` for a terminal."""
    lines = _machine_lines(document) if "processes" in document else []
    custodian = document["custodian"]
    if custodian["answers"]:
        lines += _custodian_lines(custodian)
    faults = document["faults"]
    waiting = _waiting_lines(custodian)
    lines += [*(f"!! {fault}" for fault in faults), *waiting] or ["all well"]
    return "\n".join(lines)


def _waiting_lines(custodian: Mapping[str, Any]) -> list[str]:
    """What an operator must decide: no fault, and nothing goes on without it."""
    waiting = [s for s in custodian.get("studies", ()) if s["state"] == StudyStanding.WAITING.value]
    return [f">> study {s['id']} waits for you: fedmed node approve HOME {s['study']}" for s in waiting]


def _machine_lines(document: Mapping[str, Any]) -> list[str]:
    """Processes and front door."""
    processes, door = document["processes"], document["front_door"]
    running = ", ".join(f"{name} {pid}" for name, pid in processes.items()) or "none"
    reached = "reached" if door["reachable"] else "NOT reached"
    days = [
        f"{what} {door[key]} days left"
        for what, key in (("certificate", "certificate_days"), ("authority", "authority_days"))
        if door[key] is not None
    ]
    return [f"processes   {running}", f"front door  {', '.join([door['address'], reached, *days])}"]


def _custodian_lines(told: Mapping[str, Any]) -> list[str]:
    """Roster, budget, studies and log."""
    lines = [f"custodian   {told['node']}, roster {told['roster_digest']}"]
    lines += [
        f"budget      {d['dataset']} {d['data_year']}: "
        f"epsilon {d['left_epsilon']:.3f} of {d['cap_epsilon']:g} left"
        for d in told["datasets"]
    ]
    for s in told["studies"]:
        total = f" of {s['rounds']}" if s["rounds"] else ""
        where = f", round {s['round']}{total}, {s['opened']} sums opened here" if s["round"] else ""
        spent = f"epsilon {s['spent_epsilon']:.3f} of {s['reserved_epsilon']:.3f} spent"
        lines.append(f"study       {s['id']}: {s['state']}{where}, {spent}")
        lines.append(f"            {s['study']}")
    for refused in told["refused"]:
        lines.append(f"refused     {refused['at']} {refused['code']}: {refused['why']}")
        lines.append(f"            {refused['study']}")
    if not told["studies"]:
        lines.append("study       none was proposed")
    if told["audit"]:
        head = told["audit"]
        lines.append(
            f"audit log   {head['counter']} entries, last {told['last_entry_at']}, head {head['head']}"
        )
    return lines
