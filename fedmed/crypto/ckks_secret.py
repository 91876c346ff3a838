"""The comparison scheme's secret half: the key that all provinces share, and what proves that a sum is whole.

The key of an epoch is one hash over a seed of every province, so it is fresh where one of them is honest and
no dealer chooses it. From it come the ternary secret of CKKS and the authenticator's keys; 32 bytes are all
that is dealt, kept and destroyed.

Source of the authenticator: a homomorphic MAC after Agrawal and Boneh 2009 (Homomorphic MACs: MAC-based
integrity for network coding, section 4): an inner product with secret weights plus a pad of the contributor.
Sums of ciphertexts have the sums of their tags, and nobody without the key finds another pair.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from fedmed.crypto import ckks, seal
from fedmed.crypto.ckks_parameters import PRIME_BITS, PRIMES, RING_DEGREE, TAG_PRIMES, TAGS
from fedmed.crypto.lattice_secret import KEY_BYTES, SecretKey, keystream
from fedmed.errors import IntegrityError, SumForged, UnknownVersion
from fedmed.types import FloatArray, WordArray, digest, require

_WEIGHT_MASK = np.uint64((1 << 30) - 1)
_LIMB_BITS = 20  # 30 + 20 bits, summed over 2^14 residues of a ciphertext, stay inside 64
_LIMBS = 3
_PAD_BYTES = 16  # reduced modulo a prime of at most 60 bits: uniform up to 2^-68
_VERSION = b"fedmed-ckks-keys-1\n"


class CkksKeys:
    """What a custodian keeps of an epoch of scheme ``ckks``. No repr, no pickle."""

    __slots__ = ("_key", "point", "threshold")

    def __init__(self, key: bytes, *, point: int, threshold: int) -> None:
        """Take the epoch's key.

        Args:
            key: 32 bytes that every province of the epoch holds.
            point: This custodian's.
            threshold: Custodians that answer an opening; all must say the same.

        Raises:
            ConfigError: another length.
        """
        require(len(key) == KEY_BYTES, f"the key of an epoch has {KEY_BYTES} bytes")
        self._key, self.point, self.threshold = key, point, threshold

    def __repr__(self) -> str:
        return f"CkksKeys(point={self.point}, hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("CkksKeys are never pickled or copied")

    def derived(self, label: str, *parts: bytes) -> bytes:
        """32 bytes for one purpose."""
        return digest(f"fedmed/ckks/{label}", self._key, *parts)

    def to_bytes(self) -> bytes:
        """Versioned bytes for the secret store."""
        numbers = self.point.to_bytes(4, "little") + self.threshold.to_bytes(4, "little")
        return _VERSION + numbers + self._key

    @classmethod
    def from_bytes(cls, data: bytes) -> CkksKeys:
        """Read stored bytes.

        Raises:
            UnknownVersion: not keys of this scheme, or of a version that this code does not know.
            IntegrityError: cut short or with something after the end.
        """
        if not is_ckks(data):
            raise UnknownVersion("stored keys have a version that this FedMed does not know")
        body = data[len(_VERSION) :]
        if len(body) != 8 + KEY_BYTES:
            raise IntegrityError("stored keys have the wrong length")
        point, threshold = (int.from_bytes(body[at : at + 4], "little") for at in (0, 4))
        return cls(body[8:], point=point, threshold=threshold)


def is_ckks(data: bytes) -> bool:
    """Whether stored keys are of scheme ``ckks``."""
    return data.startswith(_VERSION)


def joint_key(epoch_id: bytes, seeds: Mapping[int, bytes]) -> bytes:
    """The epoch's key from the seeds of all its provinces.

    Args:
        epoch_id: The epoch's name, which holds a fresh nonce of every province.
        seeds: 32 bytes of each dealer, by point.

    Returns:
        32 bytes: uniform for whoever lacks one of the seeds.
    """
    parts = [part for point in sorted(seeds) for part in (point.to_bytes(4, "little"), seeds[point])]
    return digest("fedmed/ckks/key", epoch_id, *parts)


def secret_context(keys: CkksKeys) -> Any:
    """TenSEAL's context with the epoch's secret key.

    The secret is drawn as in the threshold scheme (uniform ternary) and written in SEAL's form; SEAL would
    draw another one in each province.
    """
    drawn = SecretKey.draw(keystream(keys.derived("secret"))).coefficients.astype(np.int64)
    primes = seal.standard_primes(RING_DEGREE, PRIME_BITS)
    rows = [np.where(drawn < 0, drawn + prime, drawn).astype(np.uint64) for prime in primes]
    return ckks.context_from(ckks.secret_object(seal.Ring(RING_DEGREE, primes).to_ntt(np.stack(rows))))


def encrypted(context: Any, slots: FloatArray) -> WordArray:
    """Encrypt 4096 numbers under the secret key; residues of shape (2, 2, 8192). SEAL draws the errors."""
    return ckks.residues_of(ckks.tenseal().ckks_vector(context, slots.tolist()))


def decrypted(context: Any, residues: WordArray) -> FloatArray:
    """Decrypt one ciphertext, shape (4096,): whatever the bytes say, in silence.

    The numbers must never leave the custodian unrounded: they tell the encryption's error, and with it the
    key (Li and Micciancio 2021, eprint 2020/1533). Rounded to whole numbers they tell the sum, nothing else.
    """
    return np.array(ckks.vector_from(context, residues).decrypt(), np.float64)


def opening_key(keys: CkksKeys, tag: bytes) -> bytes:
    """The key that hides an opened sum until all openers gave their shares; another one for every tag."""
    return keys.derived("opening", tag)


def free_share(keys: CkksKeys, tag: bytes, *, point: int) -> bytes:
    """An opener's share of that key, uniform; the last opener's is what makes them give the key."""
    return keys.derived("opening-share", tag, point.to_bytes(4, "little"))


def tag_of(keys: CkksKeys, residues: WordArray, *, place: bytes, point: int) -> tuple[int, ...]:
    """Authenticator of one contributor's chunk.

    Args:
        keys: The epoch's.
        residues: Shape (ciphertexts, 2, 2, 8192).
        place: Digest of plan and chunk; with one place a contributor must tag one chunk only.
        point: The contributor.

    Returns:
        `TAGS` numbers below the first prime, then as many below the second.
    """
    pads = _pads(keys, place, point)
    return tuple(
        (total + pad) % prime
        for total, pad, prime in zip(_products(keys, residues, place), pads, TAG_PRIMES, strict=True)
    )


def check_sum(
    keys: CkksKeys, residues: WordArray, tag: Sequence[int], *, place: bytes, contributors: Sequence[int]
) -> None:
    """A sum is that of the chunks which exactly these contributors tagged for this place.

    Args:
        keys: The epoch's.
        residues: Of the sum; shape (ciphertexts, 2, 2, 8192).
        tag: Sum of the contributors' tags, each number reduced.
        place: Digest of plan and chunk.
        contributors: Their points, each once.

    Raises:
        SumForged: something was left out, added, scaled, altered, or made under another key, plan or epoch.
    """
    pads = [_pads(keys, place, point) for point in contributors]
    due = tuple(
        (total + sum(several)) % prime
        for total, several, prime in zip(
            _products(keys, residues, place), zip(*pads, strict=True), TAG_PRIMES, strict=True
        )
    )
    if not hmac.compare_digest(ckks.tag_bytes(tag), ckks.tag_bytes(due)):  # equal time: no number is told
        raise SumForged(
            "the sum to open is not that of the contributions of this set to this plan under this epoch's key"
        )


def _products(keys: CkksKeys, residues: WordArray, place: bytes) -> tuple[int, ...]:
    """Inner products with secret weights, not reduced: for each prime `TAGS` of them."""
    source = keystream(keys.derived("weights", place))
    totals = [0] * (TAGS * len(PRIMES))
    mask = np.uint64((1 << _LIMB_BITS) - 1)
    for one in residues:
        for index in range(len(PRIMES)):
            words = one[:, index].reshape(-1)
            weights = np.frombuffer(source(4 * TAGS * words.size), "<u4").astype(np.uint64) & _WEIGHT_MASK
            limbs = np.stack([(words >> np.uint64(_LIMB_BITS * limb)) & mask for limb in range(_LIMBS)], 1)
            sums = weights.reshape(TAGS, -1) @ limbs
            for tag, row in enumerate(sums.tolist()):
                at = TAGS * index + tag
                totals[at] += sum(part << (_LIMB_BITS * limb) for limb, part in enumerate(row))
    return tuple(totals)


def _pads(keys: CkksKeys, place: bytes, point: int) -> tuple[int, ...]:
    """A contributor's pads for one place: they hide the weights from whoever sees tags."""
    source = keystream(keys.derived("pads", place, point.to_bytes(4, "little")))
    return tuple(int.from_bytes(source(_PAD_BYTES), "little") % prime for prime in TAG_PRIMES)
