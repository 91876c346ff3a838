"""Known answers of the lattice's hashes, each recomputed here by plain Python.

The functions named ``reference_...`` share no code with fedmed: hashlib, AES block by block, Python integers.
Run this file as a script to print tests/vectors/lattice.json.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedmed.crypto.lattice_public import public_polynomial, residues_to_bytes
from fedmed.crypto.lattice_secret import opening_tag, pair_key, pair_mask, zero_mask

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "lattice.json"
PRIMES = [18014398508138497, 18014398508400641, 36028797017571329, 36028797018652673]
DEGREE = 8192


def reference_hash(label: str, *parts: bytes) -> Any:
    stream = hashlib.shake_256()
    for part in (label.encode(), *parts):
        stream.update(len(part).to_bytes(8, "little") + part)
    return stream


def reference_accepted(words: Iterator[int], prime: int, count: int) -> list[int]:
    mask = (1 << prime.bit_length()) - 1
    kept: list[int] = []
    while len(kept) < count:
        candidate = next(words) & mask
        if candidate < prime:
            kept.append(candidate)
    return kept


def reference_public(plan_digest: bytes, chunk: int) -> list[list[int]]:
    rows = []
    for prime in PRIMES:
        parts = plan_digest, chunk.to_bytes(4, "little"), prime.to_bytes(8, "little")
        data = reference_hash("fedmed/a", *parts).digest(7 * (DEGREE + 100))
        words = (int.from_bytes(data[at : at + 7], "little") for at in range(0, len(data), 7))
        rows.append(reference_accepted(words, prime, DEGREE))
    return rows


def reference_aes_words(key: bytes) -> Iterator[int]:
    block_cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()  # noqa: S305 - counter mode by hand
    counter = 0
    while True:
        block = block_cipher.update(counter.to_bytes(16, "big"))
        yield int.from_bytes(block[:8], "little")
        yield int.from_bytes(block[8:], "little")
        counter += 1


def reference_mask(key: bytes, tag: bytes, count: int) -> list[list[int]]:
    rows = []
    for prime in PRIMES:
        stream_key = reference_hash("fedmed/mask", key, tag, prime.to_bytes(8, "little")).digest(32)
        rows.append(reference_accepted(reference_aes_words(stream_key), prime, count))
    return rows


def reference_pair_key(epoch_id: bytes, low: int, high: int, z_low: bytes, z_high: bytes) -> bytes:
    points = low.to_bytes(4, "little"), high.to_bytes(4, "little")
    answer: bytes = reference_hash("fedmed/zero", epoch_id, *points, z_low, z_high).digest(32)
    return answer


def reference_tag(case: dict[str, Any]) -> bytes:
    sets = [b"".join(p.to_bytes(4, "little") for p in case[name]) for name in ("contributors", "openers")]
    plan, headers = bytes.fromhex(case["plan_digest"]), bytes.fromhex(case["headers_digest"])
    answer: bytes = reference_hash(
        "fedmed/tag", plan, *sets, headers, case["chunk"].to_bytes(4, "little")
    ).digest(32)
    return answer


def summary(rows: list[list[int]]) -> dict[str, Any]:
    wire = b"".join(value.to_bytes(7, "little") for row in rows for value in row)
    return {"first": [row[:3] for row in rows], "sha256": hashlib.sha256(wire).hexdigest()}


def document() -> dict[str, Any]:
    publics: list[dict[str, Any]] = [
        {"plan_digest": "00" * 32, "chunk": 0},
        {"plan_digest": bytes(range(32)).hex(), "chunk": 24},
    ]
    for case in publics:
        case |= summary(reference_public(bytes.fromhex(case["plan_digest"]), case["chunk"]))
    key_case: dict[str, Any] = {
        "epoch_id": "11" * 32,
        "low": 2,
        "high": 5,
        "z_low": "22" * 32,
        "z_high": "33" * 32,
    }
    key = reference_pair_key(
        bytes.fromhex("11" * 32), 2, 5, bytes.fromhex("22" * 32), bytes.fromhex("33" * 32)
    )
    key_case["key"] = key.hex()
    tag_case: dict[str, Any] = {
        "plan_digest": "44" * 32,
        "contributors": [1, 2, 3, 5],
        "openers": [2, 3, 5],
        "headers_digest": "55" * 32,
        "chunk": 1,
    }
    tag_case["tag"] = reference_tag(tag_case).hex()
    tag = bytes.fromhex(tag_case["tag"])
    mask_case = {
        "key": key.hex(),
        "tag": tag.hex(),
        "coefficients": DEGREE,
        **summary(reference_mask(key, tag, DEGREE)),
    }
    return {
        "source": "made here; encodings as in the texts of fedmed.crypto.lattice_public and lattice_secret",
        "how": "run tests/fedmed/crypto/test_lattice_vectors.py as a script: hashlib, AES "
        "block by block and Python integers; the tests recompute every value and compare it with fedmed's",
        "tolerance": "exact",
        "public_polynomial": publics,
        "pair_key": [key_case],
        "opening_tag": [tag_case],
        "pair_mask": [mask_case],
    }


def test_the_vectors_are_what_plain_python_computes() -> None:
    assert json.loads(VECTORS.read_text()) == document()


@pytest.mark.parametrize("index", [0, 1])
def test_public_polynomials_match_their_vectors(index: int) -> None:
    case = json.loads(VECTORS.read_text())["public_polynomial"][index]
    found = public_polynomial(bytes.fromhex(case["plan_digest"]), case["chunk"])
    assert found[:, :3].tolist() == case["first"]
    assert hashlib.sha256(residues_to_bytes(found, DEGREE)).hexdigest() == case["sha256"]


def test_pair_keys_and_tags_match_their_vectors() -> None:
    vectors = json.loads(VECTORS.read_text())
    (case,) = vectors["pair_key"]
    seeds = bytes.fromhex(case["z_low"]), bytes.fromhex(case["z_high"])
    found = pair_key(bytes.fromhex(case["epoch_id"]), case["low"], case["high"], *seeds)
    assert found.hex() == case["key"]
    (case,) = vectors["opening_tag"]
    digests = bytes.fromhex(case["plan_digest"]), bytes.fromhex(case["headers_digest"])
    tag = opening_tag(digests[0], case["contributors"], case["openers"], digests[1], case["chunk"])
    assert tag.hex() == case["tag"]


def test_masks_match_their_vectors_and_enter_a_zero_mask_with_their_sign() -> None:
    (case,) = json.loads(VECTORS.read_text())["pair_mask"]
    key, tag = bytes.fromhex(case["key"]), bytes.fromhex(case["tag"])
    found = pair_mask(key, tag, DEGREE)
    assert found[:, :3].tolist() == case["first"]
    assert hashlib.sha256(residues_to_bytes(found, DEGREE)).hexdigest() == case["sha256"]
    assert pair_mask(key, tag, 10).tolist() == found[:, :10].tolist()
    plus = zero_mask({5: key}, 2, (2, 5), tag, coefficients=3).tolist()
    minus = zero_mask({2: key}, 5, (2, 5), tag, coefficients=3).tolist()
    assert plus == case["first"]
    assert minus == [[p - v for v in row] for p, row in zip(PRIMES, case["first"], strict=True)]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(document(), indent=2) + "\n")
