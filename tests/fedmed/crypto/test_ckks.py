"""Ciphertexts of scheme ``ckks`` as residues: the wire's form, and addition without a key."""

import numpy as np
import pytest

from fedmed.crypto import ckks
from fedmed.crypto.ckks_parameters import CIPHERTEXT_BYTES, PRIMES, RING_DEGREE, SLOTS
from fedmed.crypto.ckks_secret import CkksKeys, decrypted, encrypted, secret_context
from fedmed.errors import CiphertextMalformed
from fedmed.types import WordArray


def any_residues(seed: int, count: int = 1) -> WordArray:
    rng = np.random.default_rng(seed)
    rows = [rng.integers(0, prime, (count, 2, RING_DEGREE), dtype=np.uint64) for prime in PRIMES]
    return np.stack(rows, axis=2)


def test_ciphertexts_come_back_from_the_wire_as_they_were() -> None:
    residues = any_residues(1, count=2)
    residues[0, 0, :, 0] = [prime - 1 for prime in PRIMES]
    data = ckks.residues_to_bytes(residues)
    assert len(data) == 2 * CIPHERTEXT_BYTES
    read = ckks.residues_from_bytes(data, 2)
    assert np.array_equal(read, residues)
    assert not read.flags.writeable


@pytest.mark.parametrize("prime", range(len(PRIMES)))
def test_a_residue_at_its_prime_or_another_size_is_refused(prime: int) -> None:
    residues = any_residues(2)
    data = ckks.residues_to_bytes(residues)
    residues[0, 1, prime, 7] = PRIMES[prime]
    for bad in (ckks.residues_to_bytes(residues), data[:-1], data + b"\0", b""):
        with pytest.raises(CiphertextMalformed):
            ckks.residues_from_bytes(bad, 1)


@pytest.mark.slow
def test_any_residues_make_a_vector_that_adds_as_residues_do() -> None:
    context = ckks.context_from()
    one, other = any_residues(3)[0], any_residues(4)[0]
    assert np.array_equal(ckks.residues_of(ckks.vector_from(context, one)), one)
    total = ckks.vector_from(context, one) + ckks.vector_from(context, other)
    assert np.array_equal(ckks.residues_of(total), (one + other) % np.array(PRIMES, np.uint64)[:, None])


@pytest.mark.slow
def test_a_context_without_a_key_opens_nothing_and_keys_of_two_provinces_open_the_same() -> None:
    here, there = (secret_context(CkksKeys(bytes(32), point=p, threshold=3)) for p in (1, 2))
    slots = np.arange(SLOTS, dtype=np.float64)
    residues = encrypted(here, slots)
    assert np.abs(decrypted(there, residues) - slots).max() < 1e-3
    stranger = secret_context(CkksKeys(bytes([1]) * 32, point=1, threshold=3))
    assert np.abs(decrypted(stranger, residues) - slots).min() > 1e6, "in silence"
    keyless = ckks.context_from()
    assert keyless.is_public()
    with pytest.raises(ValueError, match="secret"):
        ckks.vector_from(keyless, residues).decrypt()


@pytest.mark.slow
def test_an_object_of_another_ring_or_scale_is_no_ciphertext_here() -> None:
    keys = CkksKeys(bytes(32), point=1, threshold=3)
    vector = ckks.tenseal().ckks_vector(secret_context(keys), [1.0] * SLOTS, 2.0**30)
    with pytest.raises(CiphertextMalformed, match="scale"):
        ckks.residues_of(vector)
