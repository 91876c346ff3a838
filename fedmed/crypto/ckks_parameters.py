"""Named parameter sets of the comparison scheme ``ckks``, with the margins they were chosen for.

Ring of degree 8192 with primes of 60 + 40 + 40 bits and scale 2^40, as frameworks set CKKS up: 140 bits, of
the 218 that SEAL and the HomomorphicEncryption.org standard allow for this degree at 128-bit security
(ternary secret). SEAL keeps the last prime for itself. CKKS is inexact; here every slot holds a whole
number, and the error of a sum is bounded by its worst case, so that rounding gives exactly the sum.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedmed.crypto import seal
from fedmed.errors import ConfigError
from fedmed.types import require

RING_DEGREE = 8192
SLOTS = RING_DEGREE // 2
PRIME_BITS = (60, 40, 40)
PRIMES = (1152921504606830593, 1099510890497)
"""Primes that ciphertexts live under; SEAL keeps the third of the chain for itself."""
SCALE_BITS = 40
RESIDUE_BYTES = (8, 5)
"""Bytes of a residue on the wire, for each prime."""
CIPHERTEXT_BYTES = 2 * RING_DEGREE * sum(RESIDUE_BYTES)
TAGS = 4
"""Inner products with 30-bit weights in an authenticator, for each prime: a false sum passes with 2^-120."""
TAG_PRIMES = tuple(prime for prime in PRIMES for _ in range(TAGS))
"""The prime of each number of an authenticator."""
PAYLOAD_BITS = 62
"""Bits of one field: what the types of a layout allow, for a wide field takes several slots."""
TOLERANCE = 0.25
"""How far an opened slot may lie from its whole number; at 1/2 it would round to another one."""
_LIMB_BITS = 26
_ERROR_BOUND = 21  # SEAL's centred binomial, as in the threshold scheme
_TRANSFORM_ERROR = 104 * 2.0**-53  # 8 units a level, 13 levels: Higham 2002, theorem 24.2


@dataclass(frozen=True, slots=True, kw_only=True)
class CkksSet:
    """A parameter set of scheme ``ckks``.

    Attributes:
        name: Name that a layout carries.
        max_nodes: Most contributors in a sum.
        limb_bits: Most bits of a node's value in one slot; a wider field takes several slots.
    """

    name: str
    max_nodes: int
    limb_bits: int

    def __post_init__(self) -> None:
        largest = self.max_nodes << (self.limb_bits + SCALE_BITS)
        require(
            2 * largest < math.prod(PRIMES), f"{self.name}: {self.max_nodes} values do not fit the modulus"
        )
        require(self.margin_bits > 1, f"{self.name}: margin {self.margin_bits:.2f} bits must be above 1")

    @property
    def max_value(self) -> int:
        """Largest sum in one slot."""
        return self.max_nodes * ((1 << self.limb_bits) - 1)

    @property
    def error(self) -> float:
        """Largest distance of an opened slot from its whole number, as a worst case.

        Encryption is symmetric, so a ciphertext holds one error polynomial, 21 a coefficient, beside half a
        unit of rounding; a slot is a sum of 8192 coefficients over the scale. The transforms err by 2^-46.3
        of the vector's norm, once when values are encoded and once when their sum is decoded.
        """
        noise = self.max_nodes * RING_DEGREE * (_ERROR_BOUND + 0.5) / 2.0**SCALE_BITS
        return noise + 2 * _TRANSFORM_ERROR * math.sqrt(RING_DEGREE) * self.max_value

    @property
    def margin_bits(self) -> float:
        """Bits between the worst error and 1/4, half of what would round to another number."""
        return math.log2(TOLERANCE / self.error)


CKKS_SETS = {one.name: one for one in (CkksSet(name="ckks400", max_nodes=400, limb_bits=_LIMB_BITS),)}


def ckks_set_for(nodes: int) -> CkksSet:
    """The smallest set that serves so many nodes; raises `ConfigError` above the largest."""
    for one in CKKS_SETS.values():
        if nodes <= one.max_nodes:
            return one
    raise ConfigError(f"scheme ckks serves 400 nodes, got {nodes}; use threshold with a committee")


def named_ckks_set(name: str) -> CkksSet:
    """The set of this name; raises `ConfigError` for an unknown one."""
    if name not in CKKS_SETS:
        raise ConfigError(f"parameter_set must be one of {', '.join(CKKS_SETS)}, got {name!r}")
    return CKKS_SETS[name]


def check_ckks_sets() -> tuple[CkksSet, ...]:
    """Compare the ring with SEAL's own tables; margins were asserted when this module was loaded.

    Returns:
        All sets, smallest first.

    Raises:
        ConfigError: SEAL's primes differ, or the modulus exceeds its limit of 218 bits for 128-bit security.
        PlatformUnsupported: not Linux on x86-64.
    """
    require(
        seal.standard_primes(RING_DEGREE, PRIME_BITS)[: len(PRIMES)] == PRIMES,
        "SEAL gives other primes for ring degree 8192; install the tenseal of constraints.txt",
    )
    limit = seal.security_limit_bits(RING_DEGREE)
    require(sum(PRIME_BITS) <= limit, f"the modulus must have at most {limit} bits, got {sum(PRIME_BITS)}")
    return tuple(CKKS_SETS.values())


def limbs_of(field_bits: int) -> tuple[int, int]:
    """How a field without its guard bit is cut into slots.

    Args:
        field_bits: Width w of a field, guard bit included; 2..62.

    Returns:
        How many slots, and the bits of each: at most 26.
    """
    require(2 <= field_bits <= PAYLOAD_BITS, f"field_bits must be in 2..{PAYLOAD_BITS}, got {field_bits}")
    count = -(-(field_bits - 1) // _LIMB_BITS)
    return count, -(-(field_bits - 1) // count)


def ciphertexts_for(values: int, field_bits: int) -> int:
    """Ciphertexts that so many fields take."""
    return -(-values * limbs_of(field_bits)[0] // SLOTS)
