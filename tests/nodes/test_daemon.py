"""``fedmed node`` as real processes: serve, ask, kill, come back; no root left and no seed anywhere."""

from __future__ import annotations

import ast
import inspect
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fedmed import wire
from fedmed.errors import ConfigError
from fedmed.governance.audit_chain import EMPTY_CHAIN, AuditEntry
from fedmed.messages import NO_EPOCH, StudyProposal
from fedmed.privacy.noise import fresh_source
from fedmed.protocol import envelope
from fedmed.protocol.steps import PhaseKind
from fedmed.study import canonical_bytes, study_digest
from fedmed.types import Scheme
from fedmed_nodes import daemon
from fedmed_nodes.cli import app
from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.home import Home
from tests.federation import COORDINATOR, DATASET, identity_of, small_study
from tests.node_home import make_home, me, running, write

# Together these take more than the fast part of the suite can spare.
pytestmark = pytest.mark.slow

NODES = Path(daemon.__file__).parent
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="run as root: it takes a second user")
COMMAND = "from fedmed.cli import main; main()"


def fedmed(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def proposal(roster_digest: bytes, dataset: str = DATASET) -> tuple[bytes, bytes]:
    """A study of scheme plain, signed by the coordinator, and its digest."""
    study = small_study(3, scheme=Scheme.PLAIN, study__expires="2030-12-31", data__dataset=dataset)
    canonical = canonical_bytes(study)
    content = StudyProposal(canonical=canonical, roster_digest=roster_digest, epoch_id=NO_EPOCH)
    signed = envelope.sign_message(
        identity_of(COORDINATOR),
        envelope.STUDY,
        wire.encode_proposal(content),
        context=study_digest(canonical),
        receiver="roster",
        position=EMPTY_CHAIN,
    )
    return signed, study_digest(canonical)


@pytest.fixture
def folder() -> Iterator[Path]:
    """Short, and open to every user: pytest's own folders are neither."""
    made = Path(tempfile.mkdtemp(prefix="fm"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.slow
def test_the_daemon_serves_is_killed_comes_back_and_keeps_its_books(folder: Path) -> None:
    home = folder / "home"
    roster = make_home(home)
    signed, digest = proposal(wire.roster_digest(roster))
    socket = home / "run" / "custodian.sock"
    with running(home) as process:
        client = SocketCustodian(socket, patience_s=60.0)
        assert not client.answer(PhaseKind.PROPOSE, (signed,)).is_refusal
        budget = json.loads(fedmed("node", "budget", home, "--json").stdout)
        assert budget["studies"][0]["study"] == digest.hex()
        assert budget["datasets"][0]["left_epsilon"] == pytest.approx(1.0, abs=0.01)
        second = fedmed("node", "serve", home)
        assert (second.returncode, "already runs" in second.stderr) == (1, True)
        log = fedmed("node", "log", socket, "--verify", "--json")
        assert json.loads(log.stdout)["verified"]["counter"] >= 1
        client.close()
        process.kill()
        process.wait()
    assert fedmed("node", "budget", socket).returncode == 1
    offline = fedmed("node", "log", home, "--verify", "--offline")
    assert (offline.returncode, "the chain holds" in offline.stdout) == (0, True)
    with running(home, FEDMED_SEED="1", PYTHONHASHSEED="0") as process:
        client = SocketCustodian(socket, patience_s=60.0)
        assert client.budget().studies[0].study_digest == digest
        client.close()
        process.terminate()
        assert process.wait(timeout=30) == 0
    assert not socket.exists()


@pytest.mark.slow
def test_a_dataset_below_the_gate_is_withheld_alone_and_everybody_is_told(folder: Path) -> None:
    home = folder / "home"
    roster_digest = wire.roster_digest(make_home(home))
    text = (home / "node.toml").read_text()
    head, sign, dataset = text.partition("[[dataset]]")
    low = f"{sign}{dataset.replace(DATASET, 'low')}quality = {{ validity = 0.907 }}\n"
    fit = f"{sign}{dataset}quality = {{ validity = 0.99 }}\n"
    write(home / "node.toml", f"{head}{low}{fit}".encode(), me())
    write(home / "policy.toml", b"quality_gate = 0.95\n" + (home / "policy.toml").read_bytes(), me())
    cause = "validity 0.907 below the gate 0.95"
    with running(home):
        client = SocketCustodian(home / "run" / "custodian.sock", patience_s=60.0)
        refused = client.answer(PhaseKind.PROPOSE, (proposal(roster_digest, "low")[0],))
        assert refused.code == "study_refused"
        assert not client.answer(PhaseKind.PROPOSE, (proposal(roster_digest)[0],)).is_refusal
        details = [AuditEntry.from_bytes(data).event.detail for data in client.audit()]
        assert details[0].endswith("not served by quality_gate: low")
        assert any(detail.startswith(f"query.propose: rule quality_gate: {cause}") for detail in details)
        client.close()
        status = fedmed("node", "status", home / "run" / "custodian.sock").stdout
        assert f"!! dataset low is not served: quality_gate: {cause}" in status
        doctor = fedmed("doctor", home).stdout
        assert cause in doctor
        assert "serves 1 of 2 datasets" in doctor
    shown = fedmed("node", "catalogue", home).stdout
    assert f"not served: quality_gate: {cause}" in shown
    done = fedmed("node", "register", home, "low")
    assert done.returncode == 0
    assert "warning: registered, but not served: quality_gate: no scores are registered" in done.stderr


@pytest.mark.slow
@NEEDS_ROOT
def test_register_reads_as_the_homes_user_and_serve_refuses_what_was_not_registered(folder: Path) -> None:
    home, user = folder / "home", pwd.getpwnam("nobody")
    make_home(home, user=user)
    lines = (home / "node.toml").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.startswith(("columns", "fingerprint")))
    write(home / "node.toml", text.encode(), user)
    refused = fedmed("node", "serve", home)
    assert (refused.returncode, f"fedmed node register {home} {DATASET}" in refused.stderr) == (2, True)
    (home / "rows.parquet").chmod(0o600)
    os.chown(home / "rows.parquet", 0, 0)
    closed = fedmed("node", "register", home, DATASET)
    assert (closed.returncode, "closed to the custodian's user" in closed.stderr) == (2, True)
    os.chown(home / "rows.parquet", user.pw_uid, user.pw_gid)
    done = fedmed("node", "register", home, DATASET, "--json")
    found = json.loads(done.stdout)
    assert (found["rows"], "started again" in done.stderr) == (6, True)
    status = (home / "node.toml").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (user.pw_uid, 0o600)
    assert Home(home).node().dataset[0].fingerprint == found["fingerprint"]


@pytest.mark.slow
@NEEDS_ROOT
def test_started_as_root_it_becomes_the_homes_user_for_good(folder: Path) -> None:
    home, user = folder / "home", pwd.getpwnam("nobody")
    make_home(home, user=user)
    with running(home) as process:
        status = psutil.Process(process.pid)
        assert set(status.uids()) == {user.pw_uid}
        assert set(status.gids()) == {user.pw_gid}
        client = SocketCustodian(home / "run" / "custodian.sock", patience_s=60.0)
        assert client.catalogue().node == "node1"
        client.close()
    code = (
        "import os, pathlib, pwd, sys; from fedmed_nodes.home import become\n"
        "become(pwd.getpwnam('nobody'), home=pathlib.Path(sys.argv[1]))\n"
        "for call in (os.setuid, os.seteuid, os.setgid):\n"
        "    try: call(0)\n"
        "    except PermissionError: print('kept out')\n"
        "print(0 in os.getgroups())"
    )
    done = subprocess.run([sys.executable, "-c", code, str(home)], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:4] == ["kept out", "kept out", "kept out", "False"]


@pytest.mark.slow
@NEEDS_ROOT
def test_settings_cannot_turn_root_into_another_homes_user(folder: Path) -> None:
    home = folder / "home"
    make_home(home, user=pwd.getpwnam("nobody"))
    text = (home / "node.toml").read_text().replace('"nobody"', '"root"')
    write(home / "node.toml", text.encode(), pwd.getpwnam("nobody"))
    done = fedmed("node", "serve", home)
    assert (done.returncode, "must belong to root" in done.stderr) == (2, True)


@NEEDS_ROOT
def test_root_must_name_a_user(folder: Path) -> None:
    done = fedmed("node", "init", folder / "home", "--name", "shanghai")
    assert (done.returncode, "--user is missing" in done.stderr) == (2, True)
    assert not (folder / "home").exists()


def test_init_prints_the_public_card_and_never_a_second_time(folder: Path) -> None:
    words = ("node", "init", folder / "home", "--name", "shanghai", "--user", me().pw_name)
    first = fedmed(*words, "--json")
    card = json.loads(first.stdout)["card"]
    assert card["name"] == "shanghai"
    assert card["signing_key"] == Home(folder / "home").identity().public.signing_key.hex()
    key = (folder / "home" / "identity.key").read_bytes()
    assert fedmed(*words).returncode == 2
    assert (folder / "home" / "identity.key").read_bytes() == key


def test_noise_comes_from_the_system_and_nothing_in_this_package_can_change_it(folder: Path) -> None:
    home = folder / "home"
    make_home(home)
    office = daemon.open_office(Home(home), Home(home).node())
    effects = office._custodian._effects
    assert effects.noise is fresh_source
    assert effects.entropy is os.urandom
    effects.store.close()
    for path in NODES.rglob("*.py"):
        names = {getattr(n, "attr", getattr(n, "id", "")) for n in ast.walk(ast.parse(path.read_text()))}
        assert not names & {"environ", "getenv", "environb"}, f"{path.name} reads the environment"
        assert not [n for n in names if n.startswith("insecure_") and n != "insecure_channel"], path.name


@pytest.mark.parametrize("key", ["seed", "noise", "insecure_noise", "entropy"])
def test_no_setting_seeds_anything(folder: Path, key: str) -> None:
    home = folder / "home"
    make_home(home)
    for name in ("node.toml", "policy.toml"):
        write(home / name, f"{key} = 1\n".encode() + (home / name).read_bytes(), me())
    for read in (Home(home).node, Home(home).policy):
        with pytest.raises(ConfigError, match="unknown key"):
            read()


def test_no_flag_seeds_anything() -> None:
    (serve,) = [c.callback for c in app.registered_commands if c.callback and c.callback.__name__ == "serve"]
    assert list(inspect.signature(serve).parameters) == ["home"]
