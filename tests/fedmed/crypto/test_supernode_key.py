from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key

from fedmed.crypto.supernode_key import make_supernode_key, supernode_pem
from fedmed.errors import ConfigError


def test_a_supernode_key_is_a_pair_that_other_tools_read(tmp_path: Path) -> None:
    key = make_supernode_key("shanghai")
    private = load_ssh_private_key(key.private_key, password=None)
    assert private.public_key() == load_ssh_public_key(key.public_key)
    assert key.public_key.endswith(b" shanghai\n")
    keygen = shutil.which("ssh-keygen")
    if keygen is None:
        pytest.skip("ssh-keygen is not installed; it would read the key as well")
    path = tmp_path / "key"
    path.write_bytes(key.private_key)
    path.chmod(0o600)
    done = subprocess.run([keygen, "-y", "-f", str(path)], capture_output=True, check=True)
    assert done.stdout.split()[:2] == key.public_key.split()[:2]


def test_a_public_key_has_the_form_that_flowers_grid_shows() -> None:
    assert supernode_pem(make_supernode_key("a").public_key).startswith(b"-----BEGIN PUBLIC KEY-----\n")


@pytest.mark.parametrize("line", [b"", b"ssh-ed25519 AAAA x", b"ecdsa-sha2-nistp384 AAAA x"])
def test_another_key_is_refused(line: bytes) -> None:
    with pytest.raises(ConfigError, match="SuperNode's key"):
        supernode_pem(line)


def test_the_private_key_is_in_no_repr() -> None:
    assert "PRIVATE" not in repr(make_supernode_key("a"))
