from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from fedmed.errors import ConfigError
from fedmed_nodes.courier import Courier, CourierFile, create_courier
from tests.node_home import me

SETTINGS = CourierFile(version=1, front_door="fedmed.example.cn:443", port=9094, socket="/run/fedmed/c.sock")


def make(path: Path, *, authority: Path | None = None, settings: CourierFile = SETTINGS) -> str:
    return create_courier(path, "shanghai", settings=settings, authority=authority, user=me())


def test_a_new_courier_has_its_own_keys_closed_to_others(tmp_path: Path) -> None:
    line, courier = make(tmp_path / "courier"), Courier(tmp_path / "courier")
    private = load_ssh_private_key(courier.key.read_bytes(), password=None)
    assert private.public_key() == load_ssh_public_key(line.encode())
    assert (courier.path / "supernode.pub").read_text().strip() == line
    assert len(courier.secret.read_bytes()) == 32
    assert courier.settings() == SETTINGS
    assert stat.S_IMODE(courier.path.stat().st_mode) == 0o700
    assert {stat.S_IMODE(p.stat().st_mode) for p in courier.path.iterdir()} == {0o600}


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    make(tmp_path / "courier")
    before = {p.name: p.read_bytes() for p in (tmp_path / "courier").iterdir()}
    with pytest.raises(ConfigError, match="already"):
        make(tmp_path / "courier")
    assert {p.name: p.read_bytes() for p in (tmp_path / "courier").iterdir()} == before


def test_a_courier_says_what_it_still_needs(tmp_path: Path) -> None:
    make(tmp_path / "a", settings=SETTINGS.model_copy(update={"front_door": ""}))
    with pytest.raises(ConfigError, match="front_door is empty"):
        Courier(tmp_path / "a").require_ready()
    make(tmp_path / "b")
    with pytest.raises(ConfigError, match=r"copy the coordinator's tls/ca\.crt there"):
        Courier(tmp_path / "b").require_ready()
    (tmp_path / "ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    make(tmp_path / "c", authority=tmp_path / "ca.crt")
    assert Courier(tmp_path / "c").require_ready() == SETTINGS


def test_what_is_no_certificate_is_refused_and_leaves_no_folder(tmp_path: Path) -> None:
    (tmp_path / "ca.crt").write_text("no")
    for name in ("ca.crt", "missing"):
        with pytest.raises(ConfigError, match=r"name the coordinator's ca\.crt"):
            make(tmp_path / "courier", authority=tmp_path / name)
    assert not (tmp_path / "courier").exists()


@pytest.mark.parametrize("front_door", ["example.cn", "http://example.cn:1", "a b:1", "x:123456"])
def test_a_front_door_is_a_host_and_a_port(front_door: str) -> None:
    with pytest.raises(ValueError, match="front_door"):
        CourierFile(version=1, front_door=front_door, socket="/s")


def test_an_unknown_key_names_the_nearest_one(tmp_path: Path) -> None:
    make(tmp_path / "courier")
    path = tmp_path / "courier" / "courier.toml"
    path.write_text(path.read_text().replace("front_door", "frontdoor"))
    with pytest.raises(ConfigError, match="front_door"):
        Courier(tmp_path / "courier").settings()


def test_each_start_forgets_what_flower_kept(tmp_path: Path) -> None:
    make(tmp_path / "courier")
    courier = Courier(tmp_path / "courier")
    courier.make_fresh()
    (courier.flower / "apps").mkdir()
    courier.log("supernode").write_text("kept")
    courier.make_fresh()
    assert list(courier.flower.iterdir()) == []
    assert courier.log("supernode").read_text() == "kept"
    assert stat.S_IMODE(courier.flower.stat().st_mode) == 0o700
