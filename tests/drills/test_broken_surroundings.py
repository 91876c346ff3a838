"""What surrounds a custodian breaks: its disk, its roster, the coordinator's key and certificate, a clock."""

from __future__ import annotations

import contextlib
import datetime
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from fedmed import wire
from fedmed.crypto.identity import Identity
from fedmed.doctor.door import examine_door
from fedmed.doctor.finding import Finding, Question
from fedmed.messages import NO_EPOCH, Roster, StudyProposal
from fedmed.protocol import envelope
from fedmed.protocol.steps import PhaseKind, Reply
from fedmed.supervision.keeper import Kept, turns_of_main_thread
from fedmed.supervision.processes import wait_until
from fedmed.types import Scheme
from fedmed_nodes.custodian_client import SocketCustodian
from fedmed_nodes.watchdog import START_S, accepts
from fedmed_server.authority import Credentials, issue_server
from fedmed_server.files import replace_private
from fedmed_server.home_checks import examine
from fedmed_server.local_federation import node_programs
from tests.drills.arena import CAN_RUN, WHY_NOT, Arena
from tests.federation import Federation, SetClock, Trial, small_study
from tests.node_home import make_home, me, running, write

pytestmark = [pytest.mark.slow, pytest.mark.drill]
NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="run as root: it mounts a small disk")
NEEDS_PROCESSES = pytest.mark.skipif(not CAN_RUN, reason=WHY_NOT)
FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
DISK_BYTES = 24 << 20
OFFLINE_S = 300.0
CALLERS = 200


# --- One custodian -----------------------------------------------------------------------------------


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="fm"))
    yield made
    shutil.rmtree(made, ignore_errors=True)


@pytest.fixture
def disk(folder: Path) -> Iterator[Path]:
    """A small disk of its own."""
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES},mode=700", "tmpfs", str(folder)], check=False
    )
    if done.returncode != 0:
        pytest.skip("this machine lets nobody mount: run it where root may")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fedmed(*words: object) -> subprocess.CompletedProcess[str]:
    """Run the command as an operator would."""
    command = [sys.executable, "-c", "from fedmed.cli import main; main()", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)


class Study:
    """A proposed study, and its first plan, for a home of `tests.node_home`."""

    def __init__(self, home: Path, roster: Roster) -> None:
        self.client = SocketCustodian(home / "run" / "custodian.sock", patience_s=30.0, deadline_s=60.0)
        spec = small_study(3, scheme=Scheme.PLAIN, study__expires="2030-12-31")
        self.trial = Trial(Federation(roster, {}, clock=SetClock()), spec)
        reply = self.client.answer(PhaseKind.PROPOSE, (self.trial.proposal(),))
        assert not reply.is_refusal, reply.code
        self.trial.nonces = {1: self.trial.nonce_in(reply), 2: bytes(16), 3: bytes(16)}
        self.plan = self.trial.plan(1, 1)

    def contribute(self) -> Reply:
        return self.client.answer(PhaseKind.CONTRIBUTE, (self.plan, self.trial.inputs))

    def spent(self) -> float:
        (study,) = self.client.budget().studies
        return study.spent_epsilon


def check_that_nothing_leaves_before_the_debit_is_on_disk(study: Study) -> None:
    reply = study.contribute()
    assert (reply.code, reply.parts) == ("store_failed", ())
    assert study.spent() == 0


@NEEDS_ROOT
def test_a_full_disk_refuses_before_a_row_is_read_and_works_when_there_is_room(disk: Path) -> None:
    home = disk / "home"
    roster = make_home(home)
    with running(home):
        study = Study(home, roster)
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        check_that_nothing_leaves_before_the_debit_is_on_disk(study)
        filler.unlink()
        assert not study.contribute().is_refusal, "the same plan, now that there is room"
        assert study.spent() > 0
        study.client.close()


@NEEDS_ROOT
def test_a_read_only_disk_keeps_the_custodian_from_starting_and_the_doctor_says_why(disk: Path) -> None:
    home = disk / "home"
    make_home(home)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    refused = fedmed("node", "serve", home)
    assert refused.returncode != 0
    assert "unexpected" not in refused.stderr, refused.stderr
    told = fedmed("doctor", home)
    assert (told.returncode, "FAIL  ledger" in told.stdout) == (2, True)
    assert "full or read-only disk" in told.stdout
    subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
    with running(home) as process:
        assert process.poll() is None


def test_a_wrong_roster_pin_keeps_the_custodian_from_starting(folder: Path) -> None:
    home = folder / "home"
    make_home(home)
    lines = (home / "node.toml").read_text().splitlines()
    pinned = [f'roster_digest = "{"ab" * 32}"' if x.startswith("roster_digest") else x for x in lines]
    write(home / "node.toml", "\n".join(pinned).encode(), me())
    done = fedmed("node", "serve", home)
    assert done.returncode == 3
    assert done.stderr.startswith("roster_mismatch: ")
    assert "find out who is right" in done.stderr


def test_a_second_coordinator_with_a_key_of_its_own_is_not_heard(folder: Path) -> None:
    home = folder / "home"
    roster = make_home(home)
    trial = Trial(
        Federation(roster, {}, clock=SetClock()),
        small_study(3, scheme=Scheme.PLAIN, study__expires="2030-12-31"),
    )
    content = StudyProposal(
        canonical=trial.canonical, roster_digest=trial.federation.roster_digest, epoch_id=NO_EPOCH
    )
    second = Identity.create("coordinator")  # the roster's name, and a key that it does not hold
    forged = envelope.sign_message(
        second, envelope.STUDY, wire.encode_proposal(content), context=trial.digest
    )
    with running(home):
        client = SocketCustodian(home / "run" / "custodian.sock", patience_s=30.0, deadline_s=60.0)
        assert client.answer(PhaseKind.PROPOSE, (forged,)).code == "signature_invalid"
        assert client.budget().studies == ()
        assert not client.answer(PhaseKind.PROPOSE, (trial.proposal(),)).is_refusal, "the first one is heard"
        client.close()


def test_two_hundred_callers_at_once_are_all_answered_and_the_custodian_stays_well(folder: Path) -> None:
    home = folder / "home"
    make_home(home)
    ready = threading.Barrier(CALLERS, timeout=60)

    def call(_: int) -> str:
        client = SocketCustodian(home / "run" / "custodian.sock", patience_s=60.0, deadline_s=60.0)
        ready.wait()
        try:
            return client.answer(PhaseKind.OPEN, (b"x", b"y")).code
        finally:
            client.close()

    with running(home) as process:
        with ThreadPoolExecutor(CALLERS) as pool:
            assert set(pool.map(call, range(CALLERS))) == {"message_malformed"}
        assert process.poll() is None
        client = SocketCustodian(home / "run" / "custodian.sock", patience_s=30.0)
        assert client.catalogue().node == "node1"
        client.close()


# --- A federation ------------------------------------------------------------------------------------


def wait_until_offline(field: Arena, name: str) -> None:
    """Wait until a node is known to be away."""
    last = time.monotonic() + OFFLINE_S
    while field.is_online(name):
        assert time.monotonic() < last, f"{name} did not go offline"
        time.sleep(1.0)


def door_findings(field: Arena) -> dict[str, Finding]:
    home = field.running.home
    address = f"localhost:{home.addresses().port}"
    now = datetime.datetime.now(tz=datetime.UTC)
    return {one.name: one for one in examine_door(address, home.authority_certificate, now=now)}


@NEEDS_PROCESSES
def test_a_coordinator_with_a_valid_certificate_and_another_key_gets_nothing(field: Arena) -> None:
    key = field.running.home.path / "identity.key"
    own, before = key.read_bytes(), field.books()
    replace_private(key, Identity.create("coordinator").private_bytes())
    try:
        result = field.run(field.study())
    finally:
        replace_private(key, own)
    assert result.run is None
    assert result.code in ("signature_invalid", "roster_mismatch"), result.fault
    assert all(field.books()[name][0] == before[name][0] for name in before), "nobody was charged"


@NEEDS_PROCESSES
def test_an_expired_certificate_keeps_nodes_away_and_a_new_one_brings_them_back(field: Arena) -> None:
    """Flower ends a SuperNode's main loop at such a certificate and keeps its process: the keeper's case."""
    home = field.running.home
    now = datetime.datetime.now(tz=datetime.UTC)
    certificate, key = home.server_certificate
    own = (certificate.read_bytes(), key.read_bytes())
    authority = Credentials(
        certificate=home.authority_certificate.read_bytes(),
        private_key=(home.path / "tls" / "ca.key").read_bytes(),
    )
    expired = issue_server(authority, ("localhost", "127.0.0.1"), now=now - datetime.timedelta(days=398))
    try:
        replace_private(certificate, expired.certificate)
        replace_private(key, expired.private_key)
        field.kill("front-door", field.nodes[0])
        for node in field.nodes:
            wait_until_offline(field, node.name)
        assert "not now" in door_findings(field)["front door"].detail
    finally:
        replace_private(certificate, own[0])
        replace_private(key, own[1])
        field.kill("front-door", field.nodes[0])
    field.wait_until_online()
    assert door_findings(field)["front door"].ok
    assert any(f"supernode-{field.nodes[0].name} stood still" in line for line in field.said)


@NEEDS_PROCESSES
@pytest.mark.skipif(not FAKETIME.exists(), reason="install faketime: it gives one process another time")
@pytest.mark.parametrize("offset", ["+600s", "-600s"])
def test_a_node_whose_clock_is_ten_minutes_off_is_not_let_in_and_comes_back(
    field: Arena, offset: str
) -> None:
    node = field.nodes[0]
    (program,) = [p for p in node_programs(node) if p.name.startswith("supernode")]
    shifted = {"LD_PRELOAD": str(FAKETIME), "FAKETIME": offset, "DONT_FAKE_MONOTONIC": "1"}
    off = replace(program, environment={**program.environment, **shifted})
    try:
        field.replace(Kept(program=off, sign=turns_of_main_thread))
        wait_until_offline(field, node.name)
    finally:
        field.replace(Kept(program=program, sign=turns_of_main_thread))
    field.wait_until_online()


@NEEDS_PROCESSES
def test_a_province_on_another_version_takes_part_and_the_doctor_names_it(field: Arena, folder: Path) -> None:
    node, home = field.nodes[0], field.running.home
    (program,) = [p for p in node_programs(node) if p.name.startswith("relay")]
    # What a process says of itself is what is installed first on its path.
    installed = folder / "fedmed-0.0.9.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: fedmed\nVersion: 0.0.9\n")
    older = replace(program, environment={**program.environment, "PYTHONPATH": str(folder)})
    try:
        field.replace(Kept(program=older))
        host = Path(program.command[-1])
        wait_until(lambda: accepts(host), timeout_s=START_S, what=str(host), while_waiting=field.mend)
        result = field.run(field.study(scheme=Scheme.PLAIN, aggregations=1))
    finally:
        field.replace(Kept(program=program))
    assert result.run is not None, f"{result.code}: {result.fault}"
    asked = Question(home=home.path, now=datetime.datetime.now(tz=datetime.UTC))
    (found,) = [one for one in examine(asked) if one.name == "versions of nodes"]
    assert not found.ok
    assert f"{node.name} runs 0.0.9" in found.detail
    assert "pip install fedmed==" in found.mend
