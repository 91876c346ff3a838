"""What ``fedmed doctor`` looks at in a node's home; nothing here changes anything."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from fedmed.data.nhsa.standing import quality_refusal
from fedmed.doctor.door import examine_door
from fedmed.doctor.finding import Finding, Question, amiss, note, tried, well
from fedmed.errors import ConfigError, FedMedError
from fedmed.governance.policy import Policy
from fedmed.study import StudySpec
from fedmed_nodes.courier import COURIER, COURIER_FILE, Courier
from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.high_water import require_whole_ledger
from fedmed_nodes.home import KEY_FILE, Home, account, become, seated
from fedmed_nodes.node_config import NODE_FILE, POLICY_FILE, DatasetTable, NodeFile, socket_of
from fedmed_nodes.private_folder import FILE_MODE, FOLDER_MODE

_PATIENCE_S: Final = 3.0
_STORE: Final = Path("store") / "custodian.db"
_CLOSED: Final = {
    Path(): FOLDER_MODE,
    Path(KEY_FILE): FILE_MODE,
    Path(NODE_FILE): FILE_MODE,
    Path(POLICY_FILE): FILE_MODE,
    Path("store"): FOLDER_MODE,
    _STORE: FILE_MODE,
    Path("secrets"): FOLDER_MODE,
}
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_OPEN_WHY: Final = "another user of this machine could read keys or change what is allowed; it will not serve"
_SETTINGS_WHY: Final = "the custodian does not start"
_ROSTER_WHY: Final = "the custodian does not start, or refuses every message with roster_mismatch"


def examine(question: Question) -> Iterator[Finding]:
    """Look at a node's home; as root it becomes the home's user, so that it sees what the custodian sees.

    Args:
        question: The home, and what else to compare it with.

    Returns:
        Findings; none where the folder is no node's home.
    """
    home = Home(question.home)
    try:
        if not (home.path / NODE_FILE).exists():
            return
    except PermissionError:
        yield amiss(
            "home",
            f"{home.path} is closed to this user",
            why="nothing in it can be looked at",
            mend=f"run it as root or as the home's user: sudo fedmed doctor {home.path}",
        )
        return
    yield from _permissions(home)
    settings = tried("settings", lambda: _settings(home), why=_SETTINGS_WHY, mend=f"edit {home.path}")
    yield settings
    if not settings.ok:
        return
    node, policy = home.node(), home.policy()
    if question.courier is not None:  # another user's folder: seen before this becomes the home's user
        yield from _courier(home, question)
    user = tried("user", lambda: _user(home, node), why=_SETTINGS_WHY, mend=_chown(home, node.user))
    yield user
    if not user.ok:
        return
    yield tried(
        "ledger", lambda: _ledger(home), why="nothing can be debited, so nothing leaves", mend=_RESTORE
    )
    yield _roster(home, node)
    yield _custodian(home, node)
    for dataset in node.dataset:
        yield from _dataset(home, dataset, policy=policy)
    if question.study is not None:
        yield from _study(home, node, question.study, policy=policy)
    if question.courier is None:
        yield from _courier(home, question)


_RESTORE: Final = "look for a full or read-only disk; else put the latest backup of store/ back"


def _chown(home: Home, user: str) -> str:
    """The command that gives a home to its user."""
    return f"chown -R {user} {home.path}"


def _permissions(home: Home) -> Iterator[Finding]:
    """Modes and owners, one finding for each path that is open or another user's."""
    faults = 0
    owner = home.path.stat().st_uid
    for inside, mode in _CLOSED.items():
        path = home.path / inside
        try:
            status = path.lstat()
        except OSError:
            continue  # what is missing is found by whoever needs it
        if status.st_mode & _OTHERS:
            faults += 1
            detail = f"{path} has mode {stat.S_IMODE(status.st_mode):04o}, {mode:04o} is needed"
            yield amiss("permissions", detail, why=_OPEN_WHY, mend=f"chmod {mode:04o} {path}")
        if status.st_uid != owner:
            faults += 1
            detail = f"{path} belongs to user {status.st_uid}, the home to user {owner}"
            yield amiss("permissions", detail, why=_OPEN_WHY, mend=f"chown {owner} {path}")
    if not faults:
        yield well("permissions", "keys, settings and stores are closed to other users")


def _settings(home: Home) -> str:
    """Both files of the operator."""
    node, policy = home.node(), home.policy()
    return f"{len(node.dataset)} datasets; at most epsilon {policy.max_epsilon_per_year:g} a data year"


def _user(home: Home, node: NodeFile) -> str:
    """Become the home's user, as the custodian does."""
    become(account(node.user), home=home.path)
    return f"the custodian runs as {node.user}"


def _ledger(home: Home) -> str:
    """Whether the store opens and its ledger is whole."""
    store = home.store()
    try:
        require_whole_ledger(store)
    finally:
        store.close()
    if not os.access(home.path / _STORE, os.W_OK):
        raise OSError(0, "the file system is read-only", str(home.path / _STORE))
    return "opens, and holds every charge that the audit log tells of"


def _roster(home: Home, node: NodeFile) -> Finding:
    """The pinned roster, and this node's seat in it."""

    def look() -> str:
        roster = seated(home.roster(node.roster_digest), home.identity().public)
        return f"pinned by digest; {len(roster.members)} nodes, threshold {roster.threshold}"

    mend = (
        f"get roster.bin and its digest anew from the coordinator, by two ways; then run: fedmed node pin "
        f"{home.path} DIGEST --roster roster.bin, and start the custodian again"
    )
    return tried("roster", look, why=_ROSTER_WHY, mend=mend)


def _custodian(home: Home, node: NodeFile) -> Finding:
    """Whether the custodian runs, with the settings that stand in the files now."""
    path = socket_of(node, home.path)
    away = note(
        "custodian",
        f"nobody answers on {path}",
        why="no study can use this node",
        mend=f"fedmed node serve {home.path}, or fedmed node up {home.path}",
    )
    if not path.exists():
        return away
    client = SocketCustodian(path, patience_s=_PATIENCE_S, deadline_s=_PATIENCE_S)
    try:
        catalogue = client.catalogue()
    except FedMedError:
        return away
    finally:
        client.close()
    if catalogue.roster_digest.hex() != node.roster_digest:
        return amiss(
            "custodian",
            "it runs with another roster than the settings pin now",
            why="it refuses every message of the new roster with roster_mismatch",
            mend="start the custodian again: it reads its settings when it starts",
        )
    served = sum(not card.withheld for card in catalogue.datasets)
    return well("custodian", f"serves {served} of {len(catalogue.datasets)} datasets as {catalogue.node}")


def _dataset(home: Home, dataset: DatasetTable, *, policy: Policy) -> Iterator[Finding]:
    """One dataset: registered, still there with its columns, and enough people."""
    name = f"dataset {dataset.name}"
    register = f"fedmed node register {home.path} {dataset.name}"
    if not dataset.fingerprint:
        why = "the custodian does not start before it is registered"
        yield amiss(name, "it was never registered", why=why, mend=register)
        return

    def look() -> str:
        with dataset.entry(home.path).stored_table.snapshot() as snapshot:
            missing = [c for c in dataset.columns if c not in snapshot.columns]
        if missing:
            raise OSError(0, f"columns are missing: {', '.join(missing)}", dataset.name)
        return f"{len(dataset.columns)} columns, all there"

    why = "every study that reads it is refused with data_unfit, after its plan was debited"
    yield tried(name, look, why=why, mend=f"put the registered rows back, or for new ones: {register}")
    if refusal := quality_refusal(dataset.quality, policy.quality_gate):
        cause, _, mend = refusal.partition("; ")
        why = "every study that reads it is refused with study_refused; the other datasets are served"
        yield amiss(f"{name}: quality", cause, why=why, mend=f"{mend}: {register}")
    if dataset.declared_persons < policy.min_cohort:
        yield _cohort(
            name, dataset.declared_persons, policy.min_cohort, f"min_cohort of {home.path / POLICY_FILE}"
        )


def _cohort(name: str, declared: int, least: int, of: str) -> Finding:
    """Too few people; both numbers are public."""
    return amiss(
        f"{name}: cohort",
        f"{declared} persons are declared, {of} asks for {least}",
        why="the study is refused with cohort_too_small: few people are easily told apart",
        mend="leave this node out, widen the cohort, or let the data holder lower min_cohort",
    )


def _study(home: Home, node: NodeFile, study: StudySpec, *, policy: Policy) -> Iterator[Finding]:
    """Whether a study could be served from here; no row is read."""
    name, data = f"study {study.id}", study.data
    why = "this node refuses the study"
    found = [d for d in node.dataset if d.name == data.dataset]
    if not found:
        mend = f"add a [[dataset]] {data.dataset} to {home.path / NODE_FILE} and register it"
        yield amiss(name, f"there is no dataset {data.dataset} here", why=why, mend=mend)
        return
    (dataset,) = found
    missing = [c for c in study.columns if c not in dataset.columns]
    if missing:
        mend = (
            f"ask the study's owner to leave them out, or add them to the rows and run: "
            f"fedmed node register {home.path} {dataset.name}"
        )
        detail = f"{dataset.name} has no registered column {', '.join(missing)}"
        yield amiss(f"{name}: columns", detail, why="the study is refused with data_unfit", mend=mend)
    least = max(data.min_cohort, policy.min_cohort)
    if dataset.declared_persons < least:
        yield _cohort(name, dataset.declared_persons, least, "the study or the policy")
    if not missing and dataset.declared_persons >= least:
        yield well(name, f"{dataset.name} has its columns and enough people")


def _courier(home: Home, question: Question) -> Iterator[Finding]:
    """The way to the coordinator, and what its bundles may do."""
    courier = Courier(question.courier or home.path / COURIER)
    is_there = question.courier is not None or (courier.path / COURIER_FILE).is_file()
    yield from _front_door(courier if is_there else None, question)
    yield _bundles(courier if is_there else None)


def _front_door(courier: Courier | None, question: Question) -> Iterator[Finding]:
    """The way to the coordinator, as the question or the courier names it."""
    address, authority = question.front_door, question.authority
    if not address and courier is not None:
        ready = tried(
            "courier",
            lambda: courier.require_ready().front_door,
            why="the SuperNode does not start",
            mend=f"edit {courier.path / COURIER_FILE}, and copy the coordinator's tls/ca.crt to "
            f"{courier.authority}",
        )
        yield ready
        address, authority = ready.detail if ready.ok else "", authority or courier.authority
    if address:
        yield from examine_door(address, authority, now=question.present)


def _bundles(courier: Courier | None) -> Finding:
    """What a SuperNode without a list of trusted signers leaves open."""
    if courier is not None:
        with contextlib.suppress(ConfigError, OSError):
            if courier.require_ready().trusted:
                return well("app bundles", "the SuperNode starts only bundles that a trusted reviewer signed")
    return note(
        "app bundles",
        "nothing here shows that the SuperNode runs reviewed bundles only",
        why="whoever controls the coordinator can start its own code as the SuperNode's user: it reaches no "
        "row, key or ledger of the custodian, but that user's files and network",
        mend="sign the coordinator's bundle with fedmed node review and name the list of reviewers as "
        "trusted in courier.toml; give the SuperNode a user of its own"
        + ("" if courier else ". A courier that lies elsewhere is looked at with --courier FOLDER"),
    )
