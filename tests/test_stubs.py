"""The committed protobuf stubs are those that the .proto files give."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_regenerated_stubs_equal_the_committed_ones(tmp_path: Path) -> None:
    pytest.importorskip("grpc_tools", reason="needs grpcio-tools: pip install -e .[dev]")
    protos = sorted((ROOT / "protos" / "fedmed" / "proto" / "v1").glob("*.proto"))
    words = ["-I", ROOT / "protos", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", *protos]
    subprocess.run([sys.executable, "-m", "grpc_tools.protoc", *map(str, words)], check=True)
    made = {path.name: path.read_text() for path in (tmp_path / "fedmed" / "proto" / "v1").iterdir()}
    committed = ROOT / "fedmed" / "proto" / "v1"
    found = {path.name: path.read_text() for path in committed.glob("*_pb2.py*")}
    assert made == found, "run make proto and commit what it gives"
