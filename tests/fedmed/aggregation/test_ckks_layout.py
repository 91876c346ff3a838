"""How scheme ``ckks`` cuts vectors, and the form of a chunk."""

import numpy as np
import pytest

from fedmed.aggregation.ckks_layout import added_tags, parts_of, place_of, read_part, slots_of, write_part
from fedmed.aggregation.encoding import CHUNK_COEFFICIENTS
from fedmed.crypto.ckks_parameters import CIPHERTEXT_BYTES, PRIMES, SLOTS, TAG_PRIMES
from fedmed.errors import CiphertextMalformed
from fedmed.types import Layout


def layout(values: int, field_bits: int, fields: int = 1) -> Layout:
    return Layout(
        grid=1.0,
        limit=1,
        tail=0,
        values=values,
        field_bits=field_bits,
        fields=fields,
        parameter_set="ckks400",
        noise_scale=0.0,
    )


def test_chunks_follow_one_another_and_hold_whole_ciphertexts() -> None:
    first, last = parts_of(layout(2 * CHUNK_COEFFICIENTS + 5, 28, fields=2))
    assert (first.start, first.stop, last.start, last.stop) == (0, 16384, 16384, 16389)
    assert (first.limbs, first.limb_bits, first.ciphertexts, last.ciphertexts) == (2, 14, 8, 1)
    assert place_of(bytes(32), first) != place_of(bytes(32), last) != place_of(bytes([1]) * 32, last)


def test_limbs_stand_one_after_the_other_with_zeros_behind() -> None:
    slots = slots_of(np.array([1, 2**26 + 3, 2**50 - 1], np.uint64), layout(3, 51))
    assert slots.shape == (1, SLOTS)
    assert slots[0, :6].tolist() == [1, 2**26 % 2**25 + 3, 2**25 - 1, 0, 2, 2**25 - 1]
    assert not slots[0, 6:].any()


def test_a_chunk_comes_back_and_every_other_form_is_refused() -> None:
    (part,) = parts_of(layout(3, 28))
    residues = np.zeros((1, 2, len(PRIMES), 8192), np.uint64)
    tag = tuple(prime - 1 for prime in TAG_PRIMES)
    data = write_part(residues, tag)
    assert len(data) == 8 * len(TAG_PRIMES) + CIPHERTEXT_BYTES
    read, found = read_part(data, part)
    assert np.array_equal(read, residues)
    assert found == tag
    too_large = write_part(residues, (*tag[:-1], TAG_PRIMES[-1]))
    for bad in (b"", data[:-1], data + b"\0", too_large, data + data):
        with pytest.raises(CiphertextMalformed):
            read_part(bad, part)


def test_tags_add_up_below_their_primes() -> None:
    tag = tuple(prime - 1 for prime in TAG_PRIMES)
    assert added_tags(tag, tag) == tuple(prime - 2 for prime in TAG_PRIMES)
