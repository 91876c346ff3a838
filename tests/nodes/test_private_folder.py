"""Durable steps in a private folder; the stores' tests add links, modes and full disks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fedmed.errors import ConfigError, IntegrityError
from fedmed_nodes import private_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "deep" / "er"
    private_folder.prepare_folder(path, hidden=True)
    return path


@pytest.fixture
def descriptor(folder: Path) -> Iterator[int]:
    with private_folder.open_folder(folder, hidden=True) as opened:
        yield opened


def test_a_folder_is_made_with_its_parents_and_closed_to_others(folder: Path) -> None:
    assert folder.stat().st_mode & 0o777 == 0o700
    private_folder.prepare_folder(folder, hidden=True)


def test_a_folder_that_others_may_read_will_do_unless_it_is_to_be_hidden(folder: Path) -> None:
    folder.chmod(0o755)
    private_folder.prepare_folder(folder, hidden=False)
    with pytest.raises(ConfigError, match="chmod 700"):
        private_folder.prepare_folder(folder, hidden=True)


def test_a_file_is_made_once_and_replaced_whole(folder: Path, descriptor: int) -> None:
    private_folder.create_file("a", b"one", folder=descriptor)
    with pytest.raises(FileExistsError):
        private_folder.create_file("a", b"two", folder=descriptor)
    assert private_folder.read_file("a", folder=descriptor, path=folder, most=3) == b"one"
    private_folder.replace_file("a", b"three", folder=descriptor)
    assert private_folder.read_file("a", folder=descriptor, path=folder, most=5) == b"three"
    assert [file.name for file in folder.iterdir()] == ["a"]


def test_what_a_crash_left_of_a_replacement_is_written_anew(folder: Path, descriptor: int) -> None:
    private_folder.create_file("a", b"old", folder=descriptor)
    private_folder.create_file("a.new", b"half of the n", folder=descriptor)
    assert private_folder.read_file("a", folder=descriptor, path=folder, most=9) == b"old"
    private_folder.replace_file("a", b"new", folder=descriptor)
    assert private_folder.read_file("a", folder=descriptor, path=folder, most=9) == b"new"
    assert not (folder / "a.new").exists()


def test_a_longer_file_is_not_read(folder: Path, descriptor: int) -> None:
    private_folder.create_file("a", b"four", folder=descriptor)
    with pytest.raises(IntegrityError, match="longer than 3 bytes"):
        private_folder.read_file("a", folder=descriptor, path=folder, most=3)


def test_a_destroyed_file_is_gone(folder: Path, descriptor: int) -> None:
    private_folder.create_file("a", b"key", folder=descriptor)
    for _ in range(2):
        private_folder.destroy_file("a", folder=descriptor)
        assert private_folder.read_file("a", folder=descriptor, path=folder, most=3) is None
