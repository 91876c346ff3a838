"""Key shares on disk: closed to others, bound to their epoch, and gone when destroyed."""

from __future__ import annotations

import os
import resource
import threading
from pathlib import Path

import pytest

from fedmed.errors import ConfigError, IntegrityError, StoreFailed, UnknownVersion
from fedmed_nodes.secret_store import FileSecretStore

EPOCH = b"\xab" * 32
KEY, SEALED = f"{EPOCH.hex()}.key", f"{EPOCH.hex()}.sealed"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "shares"


@pytest.fixture
def store(folder: Path) -> FileSecretStore:
    return FileSecretStore(folder)


def test_folder_and_files_are_closed_to_others_even_with_an_open_umask(folder: Path) -> None:
    before = os.umask(0)
    try:
        FileSecretStore(folder).put(EPOCH, b"secret")
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    modes = {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()}
    assert modes == dict.fromkeys(["CACHEDIR.TAG", "README", KEY, SEALED], 0o600)


def test_the_folder_says_that_backups_leave_it_out(store: FileSecretStore, folder: Path) -> None:
    tag = (folder / "CACHEDIR.TAG").read_bytes()
    assert tag[:43] == b"Signature: 8a477f597d28d172789f06886806bc55"
    assert "backup" in (folder / "README").read_text()


def test_no_file_holds_the_secret_itself(store: FileSecretStore, folder: Path) -> None:
    store.put(EPOCH, b"SECRET" * 20)
    assert all(b"SECRET" not in file.read_bytes() for file in folder.iterdir())


def test_no_key_serves_two_epochs_and_no_nonce_comes_twice(store: FileSecretStore, folder: Path) -> None:
    nonces = set()
    for _ in range(10):
        store.put(EPOCH, b"the same")
        store.put(b"other", b"the same")
        nonces |= {file.read_bytes()[1:13] for file in folder.glob("*.sealed")}
    assert len(nonces) == 20
    assert len({file.read_bytes() for file in folder.glob("*.key")}) == 2


@pytest.mark.parametrize("name", [KEY, SEALED])
def test_every_altered_byte_is_refused(store: FileSecretStore, folder: Path, name: str) -> None:
    store.put(EPOCH, b"secret")
    data = (folder / name).read_bytes()
    for at in range(len(data)):
        (folder / name).write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(IntegrityError):
            store.get(EPOCH)
    (folder / name).write_bytes(data)
    assert store.get(EPOCH) == b"secret"


def test_a_cut_or_longer_file_is_refused(store: FileSecretStore, folder: Path) -> None:
    store.put(EPOCH, b"secret")
    data = (folder / SEALED).read_bytes()
    for altered in (*(data[:size] for size in range(len(data))), data + b"\0"):
        (folder / SEALED).write_bytes(altered)
        with pytest.raises(IntegrityError):
            store.get(EPOCH)
    (folder / SEALED).write_bytes(data)
    (folder / KEY).write_bytes(bytes(33))
    with pytest.raises(IntegrityError, match="longer than 32"):
        store.get(EPOCH)


def test_another_version_is_refused(store: FileSecretStore, folder: Path) -> None:
    store.put(EPOCH, b"secret")
    (folder / SEALED).write_bytes(b"\x02" + (folder / SEALED).read_bytes()[1:])
    with pytest.raises(UnknownVersion, match="update"):
        store.get(EPOCH)


def test_an_epochs_files_do_not_open_under_another_epochs_name(store: FileSecretStore, folder: Path) -> None:
    store.put(EPOCH, b"secret")
    for ending in ("key", "sealed"):
        (folder / f"{EPOCH.hex()}.{ending}").rename(folder / f"cd.{ending}")
    with pytest.raises(IntegrityError, match="altered"):
        store.get(b"\xcd")


def test_a_destroyed_key_is_overwritten_wherever_it_is_linked(store: FileSecretStore, folder: Path) -> None:
    """Backups by hard links would otherwise keep the key."""
    store.put(EPOCH, b"secret")
    (folder.parent / "kept").hardlink_to(folder / KEY)
    sealed = (folder / SEALED).read_bytes()
    store.destroy(EPOCH)
    assert (folder.parent / "kept").read_bytes() == bytes(32)
    assert sorted(file.name for file in folder.iterdir()) == ["CACHEDIR.TAG", "README"]
    (folder / SEALED).write_bytes(sealed)  # a backup brings the large file back
    (folder / SEALED).chmod(0o600)
    assert store.get(EPOCH) is None
    assert store.epochs() == frozenset()


@pytest.mark.parametrize("left", [None, b"", b"\x01" * 31, bytes(32)], ids=["none", "empty", "cut", "zeroed"])
def test_what_a_crash_leaves_of_a_key_counts_as_none(
    store: FileSecretStore, folder: Path, left: bytes | None
) -> None:
    """Crashes while a key was written, and while it was destroyed; the next step finishes the job."""
    store.put(EPOCH, b"secret")
    (folder / KEY).unlink()
    if left is not None:
        (folder / KEY).write_bytes(left)
        (folder / KEY).chmod(0o600)
    assert store.get(EPOCH) is None
    assert EPOCH not in store.epochs()
    store.put(EPOCH, b"new secret")
    assert store.get(EPOCH) == b"new secret"
    (folder / f"{SEALED}.new").write_bytes(b"left by a crash while the file was replaced")
    store.put(EPOCH, b"newer secret")
    assert store.get(EPOCH) == b"newer secret"
    (folder / f"{SEALED}.new").write_bytes(b"again")
    store.destroy(EPOCH)
    assert not list(folder.glob(f"{EPOCH.hex()}*"))


def test_a_full_disk_leaves_the_older_secret(store: FileSecretStore, folder: Path) -> None:
    store.put(EPOCH, b"older")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(StoreFailed, match="cannot be kept"):
            store.put(EPOCH, bytes(1 << 20))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert store.get(EPOCH) == b"older"
    assert sorted(file.name for file in folder.iterdir()) == sorted(["CACHEDIR.TAG", "README", KEY, SEALED])


@pytest.mark.parametrize("name", [KEY, SEALED])
def test_a_link_in_the_place_of_a_file_is_not_followed(
    store: FileSecretStore, folder: Path, name: str
) -> None:
    store.put(EPOCH, b"secret")
    target = folder.parent / "target"
    target.write_bytes(b"precious")
    (folder / name).unlink()
    (folder / name).symlink_to(target)
    with pytest.raises(ConfigError, match="no link"):
        store.get(EPOCH)
    if name == KEY:
        with pytest.raises(StoreFailed):
            store.destroy(EPOCH)
    else:
        store.destroy(EPOCH)
    assert target.read_bytes() == b"precious"


def test_a_file_open_to_others_is_refused(store: FileSecretStore, folder: Path) -> None:
    store.put(EPOCH, b"secret")
    (folder / KEY).chmod(0o644)
    with pytest.raises(ConfigError, match="chmod 600"):
        store.get(EPOCH)


def test_a_folder_that_is_open_a_link_or_a_file_is_refused(tmp_path: Path, folder: Path) -> None:
    folder.mkdir(mode=0o750)
    with pytest.raises(ConfigError, match="chmod 700"):
        FileSecretStore(folder)
    folder.chmod(0o700)
    FileSecretStore(folder)
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(ConfigError, match="no link"):
        FileSecretStore(tmp_path / "link")
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="folder"):
        FileSecretStore(tmp_path / "file")


def test_a_pipe_in_the_place_of_a_file_does_not_hang(store: FileSecretStore, folder: Path) -> None:
    os.mkfifo(folder / KEY, 0o600)
    with pytest.raises(ConfigError, match="regular file"):
        store.get(EPOCH)


def test_threads_do_not_tear_each_others_writes(folder: Path) -> None:
    stores = [FileSecretStore(folder) for _ in range(3)]
    secrets = [bytes([number]) * 50_000 for number in range(3)]
    seen: list[bytes | None] = []

    def work(number: int) -> None:
        for _ in range(10):
            stores[number].put(EPOCH, secrets[number])
            seen.append(stores[number].get(EPOCH))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 30
    assert set(seen) <= set(secrets)
