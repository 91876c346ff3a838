"""The synthetic world's lists: diagnoses, procedures, items that are charged. The same for every run.

Diagnoses take their first three signs from ICD-10 categories that are common in claims; the signs behind
them, the procedures' numbers and the items' codes are made up in the national form. What each of the 400
abstract codes of `fedmed.data.synthetic_parameters` stands for is fixed here: the first 240 are diagnoses
(60 categories of four), the other 160 are drugs, so a code's effect on cost shows in the claims.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pyarrow as pa

from fedmed.data import synthetic_parameters as world
from fedmed.types import FloatArray, IntArray

CATEGORIES = (
    "A09", "B18", "B37", "D50", "D64", "E03", "E04", "E05", "E78", "E79", "E87", "F41", "F51", "G20", "G40",
    "G43", "G47", "G56", "H10", "H25", "H26", "H40", "H52", "H66", "H81", "H91", "I20", "I48", "I49", "I50",
    "I65", "I70", "I83", "J02", "J03", "J06", "J18", "J20", "J30", "J31", "J32", "J40", "J45", "K05", "K21",
    "K25", "K29", "K52", "K57", "K74", "K76", "K80", "L20", "L30", "M06", "M10", "M17", "M51", "M54", "N20",
)  # fmt: skip
"""ICD-10 categories of the first 60 families of codes, in the order of the families."""

CONDITION_DIAGNOSES = ("I10.0", "E11.2", "I25.1", "I63.3", "J44.1", "N18.3", "C34.1", "F32.1", "J84.1")
"""One diagnosis for each of the nine chronic conditions of `synthetic_parameters.CONDITIONS`, in order."""

BIRTH, BREAST, PROSTATE = "O80.0", "C50.4", "C61.x"
"""What the maternity stay has, and the tumours that follow sex: breast for women, prostate for men."""

_SIBLINGS = ("0", "1", "2", "8")
DIAGNOSIS_CODES = len(CATEGORIES) * world.CODE_FAMILY
"""Of the 400 abstract codes, the first so many are diagnoses; the others are drugs."""

SPELLINGS = 6
"""Ways to write one diagnosis: 4, 5 or 6 digits of version 2.0, 6 of 1.0, unspecified short and long."""
SHORT, MIDDLE, FULL, OLD, UNSPECIFIED_SHORT, UNSPECIFIED_FULL = range(SPELLINGS)


@cache
def diagnosis_stems() -> tuple[str, ...]:
    """Category and fourth sign of every diagnosis: abstract codes, conditions, birth, tumours."""
    families = [f"{category}.{sibling}" for category in CATEGORIES for sibling in _SIBLINGS]
    return (*families, *CONDITION_DIAGNOSES, BIRTH, BREAST, PROSTATE)


CONDITION_STEM = DIAGNOSIS_CODES
"""Index of the first condition in `diagnosis_stems`."""
BIRTH_STEM = CONDITION_STEM + len(CONDITION_DIAGNOSES)
BREAST_STEM, PROSTATE_STEM = BIRTH_STEM + 1, BIRTH_STEM + 2
TUMOUR_STEM = CONDITION_STEM + 6


@cache
def diagnosis_spellings() -> pa.Array:
    r"""Every diagnosis in every spelling; index stem * `SPELLINGS` + spelling.

    Guarantees:
        Each matches ``^[A-Z]\d{2}(\.[0-9x]\w*)?$``; under version 1.0 the signs after the fourth differ
        from those of 2.0, so pooling the two without the version mistakes one disease for two.
    """
    texts = []
    for number, stem in enumerate(diagnosis_stems()):
        category = stem.split(".")[0]
        tail = f"{number % 7}0"
        texts += [
            stem,
            stem + tail[0],
            stem + tail,
            f"{stem}{number % 5}1",
            f"{category}.9",
            f"{category}.900",
        ]
    return pa.array(texts, type=pa.string())


def spelled(stem: IntArray, spelling: IntArray) -> pa.DictionaryArray:
    """Diagnosis codes as text; both arguments of shape (n,)."""
    index = (stem * SPELLINGS + spelling).astype(np.int32)
    return pa.DictionaryArray.from_arrays(pa.array(index), diagnosis_spellings())


PROCEDURES = tuple(f"{10 + k % 80:02d}.{(37 * k) % 100:02d}{(k % 5):02d}" for k in range(120))
"""ICD-9-CM-3 in the national form: digits only, with the full stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemGroup:
    """Items of one charge category.

    Attributes:
        items: How many.
        price: Median price of one unit, yuan.
        class_c: Share of items that the fund never pays.
        class_b: Share of items of which the person pays a part first.
    """

    items: int
    price: float
    class_c: float
    class_b: float


GROUPS: tuple[ItemGroup, ...] = (
    ItemGroup(items=6, price=50, class_c=0.0, class_b=0.2),
    ItemGroup(items=4, price=15, class_c=0.0, class_b=0.0),
    ItemGroup(items=40, price=180, class_c=0.05, class_b=0.5),
    ItemGroup(items=60, price=30, class_c=0.05, class_b=0.2),
    ItemGroup(items=50, price=60, class_c=0.06, class_b=0.3),
    ItemGroup(items=30, price=1_800, class_c=0.03, class_b=0.4),
    ItemGroup(items=6, price=25, class_c=0.0, class_b=0.1),
    ItemGroup(items=60, price=300, class_c=0.15, class_b=0.6),
    ItemGroup(items=world.CODES - DIAGNOSIS_CODES, price=30, class_c=0.05, class_b=0.45),
    ItemGroup(items=40, price=20, class_c=0.05, class_b=0.1),
    ItemGroup(items=30, price=35, class_c=0.05, class_b=0.5),
    ItemGroup(items=1, price=12, class_c=0.0, class_b=0.0),
    ItemGroup(items=2, price=5, class_c=0.0, class_b=0.0),
    ItemGroup(items=6, price=30, class_c=0.4, class_b=0.2),
)
"""Charge categories 01 to 14: bed, consultation, examination, laboratory, treatment, surgery, nursing,
material, western medicine (the abstract drug codes), herbal pieces, patent TCM, general clinic,
registration, other."""

BED, EXAMINATION, LABORATORY, NURSING, MATERIAL, WESTERN = 0, 2, 3, 6, 7, 8
CLASS_A, CLASS_B, CLASS_C = 0, 1, 2
_PRICE_SD = 0.6
_B_SHARES = (500, 1_000, 1_500, 2_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Items:
    """What can be charged; arrays of shape (items,).

    Attributes:
        names: Codes.
        group: Index into `GROUPS`.
        first: Shape (groups,), index of a group's first item.
        price: Median price of a unit, yuan.
        grade: `CLASS_A`, `CLASS_B` or `CLASS_C`.
        first_share: Part that the person pays first, in ten-thousandths; 0 for A, 10,000 for C.
    """

    names: pa.Array
    group: IntArray
    first: IntArray
    price: FloatArray
    grade: IntArray
    first_share: IntArray


@cache
def items() -> Items:
    """The list of items; the same in every run."""
    rng = np.random.Generator(np.random.PCG64(world.WORLD_SEED + 1))
    sizes = np.array([g.items for g in GROUPS])
    group = np.repeat(np.arange(len(GROUPS)), sizes)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    draw = rng.random(group.size)
    price = np.array([g.price for g in GROUPS])[group] * np.exp(_PRICE_SD * rng.standard_normal(group.size))
    own = draw < np.array([g.class_c for g in GROUPS])[group]
    partly = ~own & (draw > 1 - np.array([g.class_b for g in GROUPS])[group])
    grade = np.where(own, CLASS_C, np.where(partly, CLASS_B, CLASS_A))
    b_share = rng.choice(_B_SHARES, group.size)
    share = np.where(own, 10_000, np.where(partly, b_share, 0))
    names = [_item_code(int(g), k - int(first[g])) for k, g in enumerate(group)]
    return Items(
        names=pa.array(names, type=pa.string()),
        group=group,
        first=first,
        price=price,
        grade=grade,
        first_share=share,
    )


def _item_code(group: int, number: int) -> str:
    """Codes in the national form: letters first for drugs and materials, 15 digits for services."""
    if group in (8, 9, 10):
        kind = "XTZ"[group - 8]
        return f"{kind}{'ABCDGHJLMNRS'[number % 12]}{number:03d}A{number % 9 + 1:03d}{'A001010100001':>13}"
    if group == MATERIAL:
        return f"C{number:04d}A00000{number:04d}00000"
    return f"00{group + 1:02d}{number:04d}0000000"
