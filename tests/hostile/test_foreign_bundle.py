"""An app bundle with other code, and a foreign user of the machine: they reach no row, key or ledger.

The bundle is a real one, built by Flower; its ClientApp runs as Flower would run it, in a process of the
relay's user, and tries everything that would be worth something. What it may do is what any relay may:
ask the custodian, which may refuse.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmed.governance.audit_chain import AuditKind
from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.home import Home
from tests.node_home import make_home, running

OWNER, RELAY, GROUP = "nobody", "daemon", "daemon"
PROGRAMS = Path(sys.executable).parent

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="run as root: it takes a custodian's user and a relay's"),
    pytest.mark.skipif(not (PROGRAMS / "flwr").exists(), reason="needs flwr's programs beside this Python"),
]

PROJECT = """\
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "fedmed-study"
version = "0.1.0"
description = "Looks like the real one"
license = "Apache-2.0"
dependencies = []

[tool.flwr.app]
publisher = "fedmed"

[tool.flwr.app.components]
serverapp = "hostile:server"
clientapp = "hostile:client"
"""

HOSTILE = """
import json, os, pathlib, socket
from flwr.app import ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import ServerApp
from fedmed_nodes.custodian_client import SocketCustodian

client = ClientApp()
server = ServerApp()

def connect(path):
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(30)
        s.connect(path)

@client.train()
def train(message, context):
    home, door, pid = (context.node_config[k] for k in ("home", "door", "pid"))
    custodian = SocketCustodian(pathlib.Path(door), patience_s=3.0, deadline_s=10.0)
    files = ["identity.key", "node.toml", "policy.toml", "rows.parquet", "store/custodian.db", "secrets"]
    tries = {f"read {name}": lambda name=name: open(f"{home}/{name}", "rb").read(1) for name in files}
    tries |= {f"write {name}": lambda name=name: open(f"{home}/{name}", "ab") for name in files[:5]}
    tries |= {
        "list the home": lambda: os.listdir(home),
        "read its memory": lambda: open(f"/proc/{pid}/mem", "rb"),
        "read its environment": lambda: open(f"/proc/{pid}/environ", "rb").read(),
        "walk through its files": lambda: os.listdir(f"/proc/{pid}/fd"),
        "stop it": lambda: os.kill(int(pid), 9),
        "connect behind the gate": lambda: connect(f"{home}/run/inner/operator.sock"),
        "replace the socket": lambda: os.unlink(door),
        "see the budget": custodian.budget,
        "see the log": custodian.audit,
        "become root": lambda: os.setuid(0),
        "ask for the catalogue": custodian.catalogue,
    }
    found = {}
    for name, attempt in tries.items():
        try:
            attempt()
            found[name] = "reached"
        except BaseException as fault:
            found[name] = type(fault).__name__
    return Message(RecordDict({"found": ConfigRecord({"found": json.dumps(found)})}), reply_to=message)

@server.main()
def main(grid, context):
    pass
"""

# Everything is loaded before root is given up: the interpreter's own folder may be closed to others.
RUN = """
import json, os, pwd, sys, time
import grpc, flwr.serverapp, fedmed_nodes.client_app
from flwr.app import ConfigRecord, Context, Message, Metadata, RecordDict
bundle, user, groups, config = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), json.loads(sys.argv[4])
who = pwd.getpwnam(user)
os.setgroups(groups); os.setgid(who.pw_gid); os.setuid(who.pw_uid)
sys.path.insert(0, bundle)
import hostile
metadata = Metadata(run_id=1, message_id="m", src_node_id=1, dst_node_id=2, reply_to_message_id="",
    group_id="", created_at=time.time(), ttl=60.0, message_type="train")
message = Message(RecordDict({"x": ConfigRecord({"x": 1})}), metadata=metadata)
context = Context(run_id=1, node_id=2, node_config=config, state=RecordDict(), run_config={})
print(hostile.client(message, context).content["found"]["found"])
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, and open to every user: pytest's own folders are neither."""
    made = Path(tempfile.mkdtemp(prefix="fm"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.fixture
def bundle(folder: Path) -> Path:
    """The hostile app as a bundle that Flower built, unpacked as Flower unpacks it."""
    app = folder / "app"
    app.mkdir()
    (app / "pyproject.toml").write_text(PROJECT)
    (app / "hostile.py").write_text(HOSTILE)
    environment = {**os.environ, "FLWR_HOME": str(folder / "flwr"), "FLWR_TELEMETRY_ENABLED": "0"}
    command = [str(PROGRAMS / "flwr"), "build", "--app", str(app)]
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True, timeout=120)
    (fab,) = folder.glob("*.fab")
    with zipfile.ZipFile(fab) as packed:
        packed.extractall(folder / "unpacked")
    for path in (folder / "unpacked", *(folder / "unpacked").rglob("*")):
        path.chmod(0o755)
    assert (folder / "unpacked" / "hostile.py").exists(), "the bundle carries code"
    return folder / "unpacked"


def attempts(
    bundle: Path, *, user: str, groups: list[int], home: Path, door: Path, pid: int
) -> dict[str, str]:
    """What the hostile ClientApp found out."""
    config = json.dumps({"home": str(home), "door": str(door), "pid": str(pid)})
    command = [sys.executable, "-c", RUN, str(bundle), user, json.dumps(groups), config]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_other_code_in_the_bundle_reaches_no_row_key_or_ledger(folder: Path, bundle: Path) -> None:
    home, door = folder / "home", folder / "run" / "c.sock"
    owner, relay = pwd.getpwnam(OWNER), pwd.getpwnam(RELAY)
    (folder / "run").mkdir()
    os.chown(folder / "run", owner.pw_uid, relay.pw_gid)
    # The custodian's user must be in the group that it gives its socket to.
    make_home(home, user=owner, socket=f'[socket]\npath = "{door}"\ngroup = "{_shared_group()}"\n')
    with running(home, socket=door) as process:
        shared = [_gid(_shared_group())]
        inside = attempts(bundle, user=RELAY, groups=shared, home=home, door=door, pid=process.pid)
        assert inside.pop("ask for the catalogue") == "reached", "as any relay may"
        assert "reached" not in inside.values(), inside
        outside = attempts(bundle, user=RELAY, groups=[], home=home, door=door, pid=process.pid)
        assert "reached" not in outside.values(), f"a foreign user: {outside}"
        assert process.poll() is None
        client = SocketCustodian(door, patience_s=20.0)
        assert client.catalogue().node == "node1"
        client.close()
    store = Home(home)
    assert (home / "identity.key").stat().st_uid == owner.pw_uid
    kinds = {e.event.kind for e in _chain(store)}
    assert not kinds & {AuditKind.APPROVED, AuditKind.CONTRIBUTED, AuditKind.OPENED}


def _shared_group() -> str:
    """A group that the custodian's user is in."""
    import grp

    return grp.getgrgid(pwd.getpwnam(OWNER).pw_gid).gr_name


def _gid(name: str) -> int:
    import grp

    return grp.getgrnam(name).gr_gid


def _chain(home: Home):  # type: ignore[no-untyped-def]
    """The audit chain, read as the home's user would: root is another one."""
    import sqlite3

    from fedmed.governance.audit_chain import AuditEntry

    with sqlite3.connect(f"file:{home.path}/store/custodian.db?mode=ro", uri=True) as db:
        return [AuditEntry.from_bytes(row[0]) for row in db.execute("SELECT entry FROM audit")]
