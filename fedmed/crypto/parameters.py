"""Named parameter sets of the threshold scheme, with the margins they were chosen for.

Ring of degree 8192 with four primes of 54 + 54 + 55 + 55 bits: the modulus q is just under 2^218, the
largest that SEAL and the HomomorphicEncryption.org standard (Albrecht et al. 2018, table 1, ternary
secret) allow for this degree at 128-bit security. Margins are worst cases, not samples: every error at
its largest, every smudging value at its end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from fedmed.crypto import seal
from fedmed.errors import ConfigError
from fedmed.types import require

RING_DEGREE = 8192
PRIME_BITS = (54, 54, 55, 55)
PRIMES = (18014398508138497, 18014398508400641, 36028797017571329, 36028797018652673)
MODULUS = math.prod(PRIMES)
# Centred binomial of 21 bit pairs: standard deviation 3.24, as SEAL's own error.
ERROR_BOUND = 21
# Smudging moves by 2^-65.6 a coefficient: 2^-40.6 over this many polynomials.
MAX_POLYNOMIALS_PER_EPOCH = 4096
# As in `fedmed.types.Layout`: a field and its sum stay inside an int64.
MAX_FIELD_BITS = 62


@dataclass(frozen=True, slots=True, kw_only=True)
class ParameterSet:
    """One row of PROTOCOL.md section 2.

    Attributes:
        name: Name that a layout carries.
        max_custodians: Most custodians that share keys, and most contributors whose errors are smudged.
        max_threshold: Most custodians that answer an opening.
        smudging_bits: Smudging is uniform on [-B, B) with B = 2^smudging_bits.
        payload_bits: Most bits that the fields of one coefficient take together.
    """

    name: str
    max_custodians: int
    max_threshold: int
    smudging_bits: int
    payload_bits: int

    def __post_init__(self) -> None:
        require(self.max_threshold <= self.max_custodians, f"{self.name}: threshold above custodians")
        require(self.smudging_bits <= 80, f"{self.name}: smudging takes at most ten bytes")
        require(
            self.smudging_distance_bits < -65.5,
            f"{self.name}: smudging of {self.smudging_bits} bits shows {self.max_custodians} nodes' errors",
        )
        require(self.margin_bits > 1, f"{self.name}: margin {self.margin_bits:.2f} bits must be above 1")

    @property
    def margin_bits(self) -> float:
        """Bits between the largest possible noise and D / 2, at the set's largest payload and sets."""
        worst = noise_bound(self, contributors=self.max_custodians, openers=self.max_threshold)
        half = (MODULUS >> self.payload_bits) // 2
        require(worst < half, f"{self.name}: noise {worst.bit_length()} bits does not fit D / 2")
        return math.log2(half) - math.log2(worst)

    @property
    def smudging_distance_bits(self) -> float:
        """log2 of the statistical distance that the summed errors move one coefficient of the smudging.

        A shift by e moves the uniform law on [-B, B) by |e| / 2B; the largest e is 21 a contributor.
        """
        return math.log2(self.max_custodians * ERROR_BOUND) - (self.smudging_bits + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class MarginReport:
    """What `check_parameter_sets` found for one set.

    Attributes:
        name: The set.
        max_custodians: Its largest number of custodians.
        max_threshold: Its largest threshold.
        payload_bits: Bits of fields in a coefficient.
        margin_bits: log2 of D / 2 over the worst-case noise.
        smudging_distance_bits: log2 of the statistical distance that smudging leaves, a coefficient.
        modulus_bits: Bits of q.
        security_limit_bits: Largest modulus at 128-bit security for this degree, as SEAL gives it.
    """

    name: str
    max_custodians: int
    max_threshold: int
    payload_bits: int
    margin_bits: float
    smudging_distance_bits: float
    modulus_bits: int
    security_limit_bits: int


def noise_bound(parameter_set: ParameterSet, *, contributors: int, openers: int) -> int:
    """Largest absolute noise in a coefficient of an opened sum: n * 21 + t * B.

    Args:
        parameter_set: Gives B.
        contributors: Contributions in the sum.
        openers: Answers in the sum.

    Returns:
        The bound, in units of the modulus.
    """
    return contributors * ERROR_BOUND + (openers << parameter_set.smudging_bits)


PARAMETER_SETS = {
    one.name: one
    for one in (
        ParameterSet(name="t8", max_custodians=8, max_threshold=6, smudging_bits=72, payload_bits=140),
        ParameterSet(name="t64", max_custodians=64, max_threshold=43, smudging_bits=75, payload_bits=135),
        ParameterSet(name="t400", max_custodians=400, max_threshold=267, smudging_bits=78, payload_bits=128),
    )
}


def parameter_set_for(custodians: int, threshold: int) -> ParameterSet:
    """The smallest set that serves a roster.

    Args:
        custodians: Custodians that share keys (n); the contributors where a committee serves more of them,
            for smudging must cover all their errors.
        threshold: Answers that open (t).

    Returns:
        The first of t8, t64, t400 that fits.

    Raises:
        ConfigError: no set fits, or 1 <= threshold <= custodians does not hold.
    """
    require(
        1 <= threshold <= custodians,
        f"threshold must be in 1..{custodians} (the custodians), got {threshold}",
    )
    for one in PARAMETER_SETS.values():
        if custodians <= one.max_custodians and threshold <= one.max_threshold:
            return one
    raise ConfigError(
        f"no parameter set serves {custodians} custodians with threshold {threshold}: "
        "t8 takes 8 and 6, t64 takes 64 and 43, t400 takes 400 and 267; name a committee of custodians"
    )


def named_set(name: str) -> ParameterSet:
    """The set of this name.

    Raises:
        ConfigError: unknown name.
    """
    if name not in PARAMETER_SETS:
        raise ConfigError(f"parameter_set must be one of {', '.join(PARAMETER_SETS)}, got {name!r}")
    return PARAMETER_SETS[name]


def fields_per_coefficient(parameter_set: ParameterSet, field_bits: int) -> int:
    """How many fields one coefficient holds.

    Args:
        parameter_set: Gives the payload.
        field_bits: Width w of a field, guard bit included.

    Returns:
        k = floor(payload_bits / w), at least 1.

    Raises:
        ConfigError: ``field_bits`` outside 2..62.
    """
    require(2 <= field_bits <= MAX_FIELD_BITS, f"field_bits must be in 2..{MAX_FIELD_BITS}, got {field_bits}")
    return parameter_set.payload_bits // field_bits


def scale(fields: int, field_bits: int) -> int:
    """Distance D = floor(q / 2^(k w)) between two neighbouring payloads.

    Args:
        fields: Fields k in a coefficient.
        field_bits: Width w of a field.

    Returns:
        D; a payload m travels as D m plus noise below D / 2.
    """
    return MODULUS >> (fields * field_bits)


def check_parameter_sets() -> tuple[MarginReport, ...]:
    """Recompute every margin and compare the ring with SEAL's own tables.

    Returns:
        One report for each set, smallest first.

    Raises:
        ConfigError: SEAL's primes differ, the modulus exceeds the 128-bit limit, or a margin is gone.
        PlatformUnsupported: not Linux on x86-64.
    """
    require(
        seal.standard_primes(RING_DEGREE, PRIME_BITS) == PRIMES,
        "SEAL gives other primes for ring degree 8192; install the tenseal of constraints.txt",
    )
    limit = seal.security_limit_bits(RING_DEGREE)
    require(
        MODULUS.bit_length() == sum(PRIME_BITS) == limit == 218,
        f"the modulus and SEAL's limit must have 218 bits, got {MODULUS.bit_length()} and {limit}",
    )
    return tuple(
        MarginReport(
            name=one.name,
            max_custodians=one.max_custodians,
            max_threshold=one.max_threshold,
            payload_bits=one.payload_bits,
            margin_bits=one.margin_bits,
            smudging_distance_bits=one.smudging_distance_bits,
            modulus_bits=MODULUS.bit_length(),
            security_limit_bits=limit,
        )
        for one in PARAMETER_SETS.values()
    )
