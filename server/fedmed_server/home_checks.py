"""What ``fedmed doctor`` looks at in a coordinator's home; nothing here changes anything."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from fedmed.doctor.door import FEW_DAYS, RENEW, examine_door, names_in
from fedmed.doctor.finding import Finding, Question, amiss, note, tried, well
from fedmed.errors import (
    CohortTooSmall,
    ConfigError,
    FedMedError,
    ProcessFailed,
    RosterMismatch,
)
from fedmed.study import StudySpec
from fedmed_server import control, coordinator
from fedmed_server.deployed_study import FAILURE_FILE
from fedmed_server.files import read_private
from fedmed_server.home import Home
from fedmed_server.launch import check
from fedmed_server.node_versions import known_versions

_SETTINGS: Final = "coordinator.toml"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_NAME_WHY: Final = "SuperNodes refuse the connection: they would not know whom they talk to"
_DAMAGED: Final = "put the file back from a backup; keys that are lost need a new roster"


def examine(question: Question) -> Iterator[Finding]:
    """Look at a coordinator's home.

    Args:
        question: The home, and what else to compare it with.

    Returns:
        Findings; none where the folder is no coordinator's home.
    """
    home = Home(question.home)
    try:
        if not (home.path / _SETTINGS).exists():
            return
    except PermissionError:
        mend = f"run it as root or as the home's user: sudo fedmed doctor {home.path}"
        yield amiss("home", f"{home.path} is closed to this user", why="nothing can be looked at", mend=mend)
        return
    yield from _permissions(home)
    settings = tried("settings", lambda: _settings(home), why="the coordinator does not start", mend=_DAMAGED)
    yield settings
    if not settings.ok:
        return
    yield from _certificate(home, question)
    yield from _running(home, question)
    yield _versions(home)
    yield from _refused_rosters(home)
    if question.study is not None:
        yield from _study(home, question.study)


def _permissions(home: Home) -> Iterator[Finding]:
    """Modes of everything that only this user may read."""
    faults = 0
    for path in (home.path, *home.path.glob("*"), *(home.path / "tls").glob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if mode & _OTHERS:
            faults += 1
            wanted = "0700" if path.is_dir() else "0600"
            yield amiss(
                "permissions",
                f"{path} has mode {mode:04o}, {wanted} is needed",
                why="another user of this machine could read keys: who has them is the coordinator",
                mend=f"chmod {wanted} {path}",
            )
    if not faults:
        yield well("permissions", "keys, certificates and runs are closed to other users")


def _settings(home: Home) -> str:
    """Addresses, keys and roster; each node has a key for its SuperNode."""
    addresses, roster, keys = home.addresses(), home.roster(), home.supernode_keys()
    own = home.identity().public
    if own.signing_key != roster.coordinator.signing_key:
        raise RosterMismatch("identity.key is not the key of the coordinator that the roster names")
    missing = [m.name for m in roster.members if m.name not in keys]
    if missing:
        raise ConfigError(f"nodes.toml has no SuperNode key of {', '.join(missing)}")
    return f"{len(roster.members)} nodes, front door {addresses.names[0]}:{addresses.port}"


def _certificate(home: Home, question: Question) -> Iterator[Finding]:
    """The server certificate: its names, its key, its end."""
    name, (path, key_path) = "server certificate", home.server_certificate

    def read() -> str:
        certificate = x509.load_pem_x509_certificate(read_private(path))
        key = load_pem_private_key(read_private(key_path), password=None)
        if certificate.public_key() != key.public_key():
            raise ConfigError(f"{key_path} is not the key of {path}")
        missing = [n for n in home.addresses().names if n not in names_in(certificate)]
        if missing:
            raise ConfigError(
                f"it is not for {', '.join(missing)} but for {', '.join(names_in(certificate))}"
            )
        return "has the names of coordinator.toml"

    found = tried(name, read, why=_NAME_WHY, mend=f"{RENEW} {home.path}")
    yield found
    if not found.ok:
        return
    certificate = x509.load_pem_x509_certificate(read_private(path))
    days = (certificate.not_valid_after_utc - question.now).days
    if days < FEW_DAYS:
        tell = note if days >= 0 else amiss
        yield tell(name, f"{days} days left", why=_NAME_WHY, mend=f"{RENEW} {home.path}")


def _running(home: Home, question: Question) -> Iterator[Finding]:
    """The front door from here, and the SuperNodes that the SuperLink sees."""
    if not coordinator.is_running(home):
        why = "no study can run"
        yield note("coordinator", "it does not run", why=why, mend=f"fedmed server up {home.path}")
        return
    addresses = home.addresses()
    here = question.front_door or f"{addresses.names[0]}:{addresses.port}"
    yield from examine_door(here, question.authority or home.authority_certificate, now=question.present)
    try:
        standing = control.node_statuses(home)
    except ProcessFailed as fault:
        mend = f"read {home.log('superlink')}; then fedmed server stop {home.path} and up again"
        yield amiss("SuperLink", f"{fault.code}: {fault}", why="no study can run", mend=mend)
        return
    away = [m.name for m in home.roster().members if standing.get(m.name) != control.ONLINE]
    if away:
        yield note(
            "nodes",
            f"not online: {', '.join(away)}",
            why="a study begins when all nodes are there",
            mend="at that province: fedmed node up HOME, and fedmed doctor HOME --front-door HOST:PORT",
        )
    else:
        yield well("nodes", f"all {len(standing)} SuperNodes are online")


def _versions(home: Home) -> Finding:
    """Versions that provinces said, against each other and this one."""
    here, told = version("fedmed"), known_versions(home)
    others = {name: theirs for name, theirs in told.items() if theirs != here}
    if others:
        return amiss(
            "versions of nodes",
            f"this coordinator runs {here}; " + ", ".join(f"{n} runs {v}" for n, v in sorted(others.items())),
            why="two versions may work out a study's layout or noise differently: layout_mismatch stops it",
            mend=f"install the same everywhere, then start custodians again: pip install fedmed=={here}",
        )
    return well("versions of nodes", f"{len(told)} nodes said theirs, all {here}")


def _refused_rosters(home: Home) -> Iterator[Finding]:
    """Runs that a node refused because it pinned another roster."""
    for path in sorted(home.path.glob(f"runs/*/{FAILURE_FILE}")):
        told = _failure(path)
        if told.get("code") == RosterMismatch.code:
            yield amiss(
                "roster",
                f"study {path.parent.name} was refused: {told.get('cause', '')}",
                why="that node pinned an older roster, or somebody gave it another one",
                mend="hand roster.bin out again, tell the digest by telephone, and have it pinned there: "
                "fedmed node pin HOME DIGEST --roster roster.bin; then launch the study again",
            )


def _failure(path: Path) -> dict[str, str]:
    """What stopped a run; nothing where the file cannot be read."""
    try:
        return dict(json.loads(read_private(path)))
    except (FedMedError, ValueError):
        return {}


def _study(home: Home, study: StudySpec) -> Iterator[Finding]:
    """Whether a study fits the roster and every node's declared people."""

    def look() -> str:
        small = {n: c for n, c in study.data.declared_persons.items() if c < study.data.min_cohort}
        if small:
            told = ", ".join(f"{name} declares {count}" for name, count in small.items())
            raise CohortTooSmall(f"min_cohort is {study.data.min_cohort}, {told}")
        schedule = check(home, study)
        return f"fits the roster; {schedule.layout.values} values in each sum"

    mend = "correct the study file; fedmed study check STUDY shows all faults"
    yield tried(f"study {study.id}", look, why="nodes would refuse it", mend=mend)
