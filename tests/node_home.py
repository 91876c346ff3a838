"""A node's home as an operator would fill it in, for tests that run the real commands and the real daemon."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq

from fedmed import wire
from fedmed.messages import Member, Roster
from fedmed.protocol.schedule import schedule_for
from fedmed.supervision.guard import Guard
from fedmed.types import Scheme
from fedmed_nodes.home import create_home
from fedmed_nodes.node_config import NODE_FILE, parse_node
from fedmed_nodes.node_text import with_registration
from fedmed_nodes.registration import register
from tests.federation import DATASET, DECLARED, NOW, roster_of, small_study, small_table

POLICY = """\
version = 1
max_epsilon_per_study = 1.0
max_epsilon_per_year = 2.0
schemes = ["threshold", "plain"]
min_cohort = 1
research = true
auto_approve = true
"""


def me() -> pwd.struct_passwd:
    """The account that runs the tests."""
    return pwd.getpwuid(os.geteuid())


def make_home(path: Path, *, user: pwd.struct_passwd | None = None, socket: str = "") -> Roster:
    """Make a home of ``node1`` with keys of its own, a pinned roster, a policy and rows; gives the roster."""
    owner = user or me()
    public = create_home(path, "node1", user=owner)
    allowance = schedule_for(small_study(3, scheme=Scheme.PLAIN)).allowance
    others = roster_of(3, threshold=allowance.threshold, colluders=allowance.colluders)
    card = Member(name=public.name, signing_key=public.signing_key, sealing_key=public.sealing_key)
    roster = replace(others, members=(card, *others.members[1:]))
    write(path / "roster.bin", wire.encode_roster(roster), owner)
    write(path / "policy.toml", POLICY.encode(), owner)
    pq.write_table(small_table(1), path / "rows.parquet")
    os.chown(path / "rows.parquet", owner.pw_uid, owner.pw_gid)
    node = f"""\
version = 1
user = "{owner.pw_name}"
roster_digest = "{wire.roster_digest(roster).hex()}"
{socket}
[[dataset]]
name = "{DATASET}"
path = "rows.parquet"
declared_persons = {DECLARED}
data_year = {NOW.year}
"""
    write(path / NODE_FILE, _registered(node, path).encode(), owner)
    return roster


def _registered(node: str, home: Path) -> str:
    """Settings with their one dataset registered; the command itself would give up root for good."""
    entry = register(parse_node(node, home / NODE_FILE).dataset[0].entry(home))
    return with_registration(node, 0, columns=entry.columns, fingerprint=entry.fingerprint)


def write(path: Path, data: bytes, owner: pwd.struct_passwd) -> None:
    """Write a file of the home's user."""
    path.write_bytes(data)
    path.chmod(0o600)
    os.chown(path, owner.pw_uid, owner.pw_gid)


@contextmanager
def running(home: Path, *, socket: Path | None = None, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """The daemon, serving; it is stopped at the end and must then end well."""
    code = "from fedmed.cli import main; main()"
    words = [sys.executable, "-c", code, "node", "serve", str(home)]
    around = {**os.environ, **environment}
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, env=around, start_new_session=True)
    path = socket or home / "run" / "custodian.sock"
    guard = Guard()  # it does not outlive a test run that is killed
    guard.watch(process.pid)
    try:
        last = time.monotonic() + 60
        while not path.is_socket():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < last, "the custodian did not come up"
            time.sleep(0.05)
        yield process
    finally:
        process.terminate()
        process.communicate(timeout=30)
        guard.close()
