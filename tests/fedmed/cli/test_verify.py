"""``fedmed verify``: reading bundles, and what it says of one that does not hold."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from fedmed.cli.edge import run
from fedmed.cli.verify import MOST_FILES, read_digest, read_files
from fedmed.errors import ConfigError, ReleaseBroken


def test_a_folder_and_a_zip_file_read_alike(tmp_path: Path) -> None:
    files = {"a.json": b"{}", "b.bin": bytes(range(256))}
    folder, archive = tmp_path / "bundle", tmp_path / "bundle.zip"
    folder.mkdir()
    with zipfile.ZipFile(archive, "w") as packed:
        for name, data in files.items():
            (folder / name).write_bytes(data)
            packed.writestr(name, data)
    assert read_files(folder) == read_files(archive) == files


def test_a_damaged_or_doubled_zip_file_is_no_release(tmp_path: Path) -> None:
    archive = tmp_path / "bundle.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.json", b"{}" * 100)
    data = bytearray(archive.read_bytes())
    data[60] ^= 1
    archive.write_bytes(bytes(data))
    with pytest.raises(ReleaseBroken, match="damaged"):
        read_files(archive)
    with zipfile.ZipFile(archive, "w") as packed:
        packed.writestr("a.json", b"{}")
        with pytest.warns(UserWarning, match="Duplicate"):
            packed.writestr("a.json", b"[]")
    with pytest.raises(ReleaseBroken, match="two files of one name"):
        read_files(archive)


def test_what_no_release_can_be_is_refused_before_it_is_read(tmp_path: Path) -> None:
    for number in range(MOST_FILES + 1):
        (tmp_path / f"{number}").touch()
    with pytest.raises(ReleaseBroken, match="at most"):
        read_files(tmp_path)


@pytest.mark.parametrize("text", ["", "zz", "00" * 31, "00" * 33])
def test_a_digest_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="64 hexadecimal digits"):
        read_digest(text)


def test_a_bundle_that_does_not_hold_ends_with_code_6(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["verify", str(tmp_path / "none")]) == 2
    assert run(["verify", str(tmp_path)]) == 6
    told = capsys.readouterr()
    assert "release_broken: roster.bin is missing from the release" in told.err
    assert run(["verify", str(tmp_path), "--json"]) == 6
    document = json.loads(capsys.readouterr().out)
    assert (document["holds"], document["verified"]) == (False, [])
    assert document["error"]["code"] == "release_broken"
