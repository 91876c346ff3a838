"""Exact discrete Gaussian noise on the integers, one vectorised sampler for every scale.

Rejection from a step envelope. Non-negative integers are cut into cells of ``width`` neighbours; 2**16
equally likely slots name a cell, the point inside it is uniform, and a proposal x of a cell that owns
``slots`` slots is kept with probability ``height * exp(-x**2 / (2 s**2)) / slots``. Proposal probabilities
are integers over powers of two, so the only decision that needs the exponential is *keep or not*, and that
one is made exactly: by an integer bound of the cell in about 24 cases of 25, by floats when the uniform word
is farther from the probability than floats can err, and otherwise by decimal arithmetic of growing
precision on fresh bits.
"""

from __future__ import annotations

import decimal
import functools
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from fedmed.types import IntArray, WordArray, digest, require

BoolArray = npt.NDArray[np.bool_]
ByteSource = Callable[[int], bytes]
"""Returns exactly as many random bytes as asked."""

TAIL_FACTOR = 12
"""The cut in units of the scale; PROTOCOL.md section 5."""

_LARGEST_SCALE = 2.0**40  # cell 16 + sign 1 + point 36 bits fill one word; 12 * 2**40 is exact in a float
_SLOT_BITS = 16
_CELLS_PER_SCALE = 16  # cells narrower than s / 16 keep about 97 proposals of 100
_BLOCK = 1 << 15  # proposals at a time: temporaries stay in the second-level cache
_WORD_BYTES = 8
# Floats compute a keep probability with an absolute error below 2**-44 (bound in `_float_decision`); the
# rest is reserve against a bad exponential of the machine.
_FLOAT_MARGIN = 2.0**-40


def fresh_source() -> ByteSource:
    """Open the noise stream of one release.

    Returns:
        The AES-256-CTR keystream under a new key from the operating system. Take a new source for each
        release and drop it afterwards: the key is never written anywhere.
    """
    return _keystream(os.urandom(32))


def insecure_source(seed: int) -> ByteSource:
    """Open a repeatable stream for tests and simulations; whoever knows the seed knows the noise.

    Args:
        seed: Any non-negative integer below 2**64.

    Returns:
        A stream of the same kind as `fresh_source`, equal for equal seeds.
    """
    return _keystream(digest("fedmed/insecure-noise", seed.to_bytes(8, "little")))


def _keystream(key: bytes) -> ByteSource:
    """AES-256 in counter mode from block 0; the key serves one stream, so the counter may start at 0."""
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    return lambda size: stream.update(bytes(size))


def noise_share(scale: float, count: int, *, source: Callable[[], ByteSource]) -> IntArray:
    """One node's noise for one release.

    Args:
        scale: s_node in grid steps, >= 1; 0 where the sum carries none.
        count: Coordinates.
        source: Makes the random stream; called once for each release with noise.

    Returns:
        Shape (count,), int64; zeros at scale 0.
    """
    if scale == 0:
        return np.zeros(count, dtype=np.int64)
    return DiscreteGaussian(scale).sample(count, source())


@dataclass(frozen=True, slots=True)
class DiscreteGaussian:
    """The law on the integers with weights exp(-x**2 / (2 scale**2)), cut at ``tail``.

    Attributes:
        scale: s, in grid steps, in [1, 2**40]. The standard deviation is s up to a relative
            2e-7 at s = 1 and 1e-30 from s = 2 on.

    Guarantees:
        Draws are independent and follow the cut law exactly, given uniform bytes (proof in `sample`).

    Raises:
        ConfigError: ``scale`` outside its bounds.

    Source:
        Canonne, Kamath, Steinke 2020, arXiv:2004.00010 (the law, its tail bound and its privacy);
        envelope and lazy comparison: von Neumann rejection as in Devroye 1986, chapter II.
    """

    scale: float

    def __post_init__(self) -> None:
        require(
            1 <= self.scale <= _LARGEST_SCALE,
            f"scale must be in [1, 2**40] grid steps, got {self.scale}: choose another grid",
        )

    @property
    def tail(self) -> int:
        """Largest absolute value ever drawn: floor(12 s)."""
        return tail_of(self.scale)

    @property
    def total_variation_per_draw(self) -> float:
        """Bound on the distance of one draw from the uncut law, to be charged to delta.

        The sampler is exact for the cut law, so only the mass beyond ``tail`` counts:
        P(|X| > 12 s) <= 2 exp(-72) < 2**-102, as the discrete Gaussian is sub-Gaussian with variance
        proxy s**2 (Canonne, Kamath, Steinke 2020, section 3). It errs towards spending more.
        """
        return 2.0**-102

    def sample(self, count: int, source: ByteSource) -> IntArray:
        """Draw ``count`` independent values.

        Args:
            count: Number of draws, >= 0.
            source: Random bytes; `fresh_source` for a release.

        Returns:
            Shape (count,), int64, each in [-tail, tail]. Running time depends on the random bytes.

        Guarantees:
            Exact: a pair (sign, x) is proposed with probability slots / (2**16 width 2) and kept with
            probability height exp(-x**2 / (2 s**2)) / slots, so it is returned with a probability
            proportional to exp(-x**2 / (2 s**2)): ``slots`` cancels. The pair (minus, 0) is never kept, so 0
            is not counted twice, nor is x > tail. Keeping means U < probability for a uniform real U whose
            bits are read as far as the comparison needs them.

        Raises:
            ConfigError: ``count`` is negative, or the source returned fewer bytes than asked.
        """
        require(count >= 0, f"count must be >= 0, got {count}")
        envelope = _envelope(self.scale)
        drawn = np.empty(count, dtype=np.int64)
        filled = 0
        while filled < count:
            missing = count - filled
            # A few more than needed; surplus draws are dropped from the end, which no draw influences.
            proposals = min(_BLOCK, missing + missing // 8 + 16)
            words = np.frombuffer(_read(source, 2 * _WORD_BYTES * proposals), dtype="<u8")
            kept = _kept(envelope, words[:proposals], words[proposals:], source)[:missing]
            drawn[filled : filled + kept.size] = kept
            filled += kept.size
        return drawn


def tail_of(scale: float) -> int:
    """Cut of the noise in grid steps, floor(12 scale): 0 for the scale 0 of a round without noise."""
    return math.floor(TAIL_FACTOR * Fraction(scale))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Envelope:
    """Proposal tables of one scale.

    Attributes:
        scale: s.
        tail: Cut.
        width_bits: A cell holds 2**width_bits integers.
        height: Slots that a weight of one would own.
        cell_of_slot: Shape (65536,), int64.
        slots: Shape (cells,), int64: slots of each cell, at least height * (largest weight in the cell).
        sure: Shape (cells,), uint64: below this word every point of the cell is kept.
    """

    scale: float
    tail: int
    width_bits: int
    height: int
    cell_of_slot: IntArray
    slots: IntArray
    sure: WordArray


@functools.lru_cache(maxsize=32)
def _envelope(scale: float) -> _Envelope:
    """Build the tables; float weights are widened by 2**-30, far more than they can err."""
    slack = 2.0**-30
    tail = tail_of(scale)
    width_bits = max(0, math.floor(math.log2(scale / _CELLS_PER_SCALE)))
    cells = (tail >> width_bits) + 1
    first = np.arange(cells, dtype=np.float64) * 2.0**width_bits
    weights = np.exp(-0.5 * (first / scale) ** 2) * (1 + slack)
    height = int(((1 << _SLOT_BITS) - cells) / float(weights.sum())) - 1
    slots = np.floor(height * weights).astype(np.int64) + 1
    slots[0] += (1 << _SLOT_BITS) - int(slots.sum())
    last = first + (2.0**width_bits - 1)
    least = height * np.exp(-0.5 * (last / scale) ** 2) * (1 - slack) / slots
    sure = np.array([int(math.ldexp(float(p), 64)) for p in least], dtype=np.uint64)
    sure[-1] = 0  # the last cell may reach beyond the cut
    tables = _Envelope(
        scale=scale,
        tail=tail,
        width_bits=width_bits,
        height=height,
        cell_of_slot=np.repeat(np.arange(cells), slots),
        slots=slots,
        sure=sure,
    )
    for table in (tables.cell_of_slot, tables.slots, tables.sure):
        table.setflags(write=False)
    return tables


def _kept(envelope: _Envelope, places: WordArray, levels: WordArray, source: ByteSource) -> IntArray:
    """Turn proposals into the kept values, in order; ``source`` feeds undecided comparisons only.

    A place word holds, from the low end, 16 bits of slot, a sign bit and the point inside the cell.
    """
    cells = envelope.cell_of_slot[places & np.uint64((1 << _SLOT_BITS) - 1)]
    inside = (places >> np.uint64(_SLOT_BITS + 1)) & np.uint64((1 << envelope.width_bits) - 1)
    x = (cells << envelope.width_bits) + inside.astype(np.int64)
    minus = (places & np.uint64(1 << _SLOT_BITS)) != 0
    keep = levels < envelope.sure[cells]
    unsure = np.flatnonzero(~keep)
    keep[unsure] = _float_decision(envelope, x[unsure], levels[unsure], source)
    keep &= (x != 0) | ~minus
    kept: IntArray = np.where(minus, -x, x)[keep]
    return kept


def _float_decision(envelope: _Envelope, x: IntArray, levels: WordArray, source: ByteSource) -> BoolArray:
    """Keep or not, by floats where they are sure to be right and exactly elsewhere.

    Error: x < 2**45 is exact, the exponent is below 73 with a relative error of 3 * 2**-53, so its error is
    below 2**-45; the probability is at most 1, its factors and the level add below 2**-51. With an
    exponential that is right to 2**-42 (tests check 2**-48) the sum is below 2**-41.
    """
    slots = envelope.slots[x >> envelope.width_bits]
    probability = envelope.height * np.exp(-0.5 * (x / envelope.scale) ** 2) / slots
    distance = probability - levels.astype(np.float64) * 2.0**-64
    keep = distance > _FLOAT_MARGIN
    for i in np.flatnonzero(np.abs(distance) <= _FLOAT_MARGIN):
        keep[i] = _exact_decision(envelope, int(x[i]), int(levels[i]), source)
    inside: BoolArray = keep & (x <= envelope.tail)
    return inside


def _exact_decision(envelope: _Envelope, x: int, level: int, source: ByteSource) -> bool:
    """Compare U, whose first 64 bits are ``level``, with the keep probability; ends with probability 1."""
    slots = int(envelope.slots[x >> envelope.width_bits])
    exponent = Fraction(x, 1) ** 2 / (2 * Fraction(envelope.scale) ** 2)
    bits = 64
    while True:
        low, high = _exp_minus(exponent, digits=bits // 3 + 16)
        if Fraction(level + 1, 1 << bits) <= low * envelope.height / slots:
            return True
        if Fraction(level, 1 << bits) >= high * envelope.height / slots:
            return False
        level = level << 64 | int.from_bytes(_read(source, _WORD_BYTES), "little")
        bits += 64


def _exp_minus(exponent: Fraction, *, digits: int) -> tuple[Fraction, Fraction]:
    """Enclose exp(-exponent), 0 <= exponent < 100, to a relative 10**(4 - digits).

    The decimal module rounds quotient and exponential correctly (General Decimal Arithmetic): the argument
    errs by 100 * 10**-digits at most and the result by another 10**-digits, together below 10**(3 - digits).
    """
    context = decimal.Context(prec=digits, rounding=decimal.ROUND_HALF_EVEN)
    # Numerator and denominator go in unrounded; only the division and the exponential round. A unary minus
    # would round to the thread's 28 digits: found by the test of this enclosure.
    quotient = context.divide(decimal.Decimal(exponent.numerator), decimal.Decimal(exponent.denominator))
    value = Fraction(context.exp(quotient.copy_negate()))
    slack = Fraction(1, 10 ** (digits - 4))
    return value * (1 - slack), value * (1 + slack)


def _read(source: ByteSource, size: int) -> bytes:
    """Read exactly ``size`` bytes or refuse: short randomness must never become short noise."""
    data = source(size)
    require(len(data) == size, f"source must return {size} bytes, got {len(data)}: use fresh_source()")
    return data
