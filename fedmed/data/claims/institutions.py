"""Hospitals and pharmacies of the synthetic world, the same for every run and every province."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from fedmed.data import synthetic_parameters as world
from fedmed.data.claims.fraud import AT_HOSPITALS
from fedmed.data.synthetic_parameters import PROVINCES
from fedmed.types import FloatArray, IntArray

CITIES: tuple[tuple[int, str], ...] = tuple((i, city) for i, p in enumerate(PROVINCES) for city in p.cities)
"""Every insuring city: its province's index, its region code; a city's number is its place here."""

FIRST_CITY = tuple(np.cumsum([0, *(len(p.cities) for p in PROVINCES)])[:-1].tolist())
"""Number of each province's first city."""

PER_CITY = (8, 10, 5, 3)
"""Pharmacies, then hospitals of level 1, 2 and 3, in every city."""

# Fraud differs twofold between the provinces, in the order of `PROVINCES`.
FRAUD_SHARE = (0.045, 0.06, 0.065, 0.09)
# Months between which a province's institutions go over to version 2.0 of the diagnosis codes, one by one:
# of three years' claims about 0, 6, 2 and 33 % are coded in version 1.0.
_NEW_CODES = ((-24.0, -1.0), (-20.0, 12.0), (-40.0, 8.0), (-8.0, 30.0))
_BEDS = ((0, 1), (20, 100), (100, 500), (500, 2_500))
_PRIVATE = (0.8, 0.35, 0.2, 0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Institutions:
    """The directory; arrays of shape (institutions,), ordered by city and level.

    Attributes:
        names: ``fixmedins_code``.
        level: 0 for a pharmacy, else 1 to 3.
        city: Number of its city in `CITIES`.
        province: Index of its province.
        beds: 0 for a pharmacy.
        private: Whether privately owned.
        fraud: `fedmed.data.claims.fraud.Fraud` that it commits, 0 for honest ones.
        price: What it charges relative to its province, median 1.
        new_codes_from: Month of the window in which it begins to code in version 2.0; negative = before.
    """

    names: pa.Array
    level: IntArray
    city: IntArray
    province: IntArray
    beds: IntArray
    private: npt.NDArray[np.bool_]
    fraud: IntArray
    price: FloatArray
    new_codes_from: FloatArray


@cache
def institutions() -> Institutions:
    """The directory of the synthetic world."""
    rng = np.random.Generator(np.random.PCG64(world.WORLD_SEED + 2))
    level = np.tile(np.repeat(np.arange(4), PER_CITY), len(CITIES))
    city = np.repeat(np.arange(len(CITIES)), sum(PER_CITY))
    province = np.array([p for p, _ in CITIES])[city]
    number = np.tile(np.arange(sum(PER_CITY)), len(CITIES))
    names = [
        f"{'H' if lv else 'P'}{CITIES[c][1]}{k + 1:05d}" for lv, c, k in zip(level, city, number, strict=True)
    ]
    low, high = np.array(_BEDS)[level].T
    return Institutions(
        names=pa.array(names, type=pa.string()),
        level=level,
        city=city,
        province=province,
        beds=np.where(level > 0, rng.integers(low, high), 0),
        private=rng.random(level.size) < np.array(_PRIVATE)[level],
        fraud=_fraud(rng, level, province),
        price=np.exp(0.08 * rng.standard_normal(level.size)),
        new_codes_from=rng.uniform(*np.array(_NEW_CODES)[province].T),
    )


def _fraud(rng: np.random.Generator, level: IntArray, province: IntArray) -> IntArray:
    """Choose a fixed number of fraudulent hospitals a province, so that a small world has them too."""
    fraud = np.zeros(level.size, dtype=np.int64)
    for p, share in enumerate(FRAUD_SHARE):
        here = np.flatnonzero((province == p) & (level > 0))
        count = max(len(AT_HOSPITALS), round(share * (province == p).sum()))
        kinds = np.resize([kind.value for kind in AT_HOSPITALS], count)
        fraud[rng.permutation(here)[:count]] = kinds
    return fraud


def choose(city: IntArray, level: IntArray, luck: FloatArray) -> IntArray:
    """Choose an institution of a level in a city; the first ones of a city are the busiest.

    Args:
        city: Shape (n,), numbers of cities.
        level: Shape (n,), 0 to 3.
        luck: Shape (n,), in [0, 1).

    Returns:
        Indices into the directory, shape (n,).
    """
    counts = np.array(PER_CITY)
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    chosen: IntArray = city * sum(PER_CITY) + first[level] + (counts[level] * luck**1.5).astype(np.int64)
    return chosen
