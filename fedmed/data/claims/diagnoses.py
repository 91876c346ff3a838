"""Diagnoses and operations of visits, and the payment group that a stay falls into.

What is true of a person (conditions, codes) shows in the diagnoses; what a stay costs follows from its
group, so that weights computed from the claims have something to find.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from fedmed.data import synthetic_parameters as world
from fedmed.data.claims import catalogue
from fedmed.data.claims.calendar import month_of
from fedmed.data.claims.fraud import Fraud
from fedmed.data.claims.institutions import institutions
from fedmed.data.claims.persons import Insured
from fedmed.data.claims.visits import CHRONIC, MATERNITY_STAY, PHARMACY, Visits
from fedmed.data.synthetic_parameters import PROVINCES
from fedmed.types import FloatArray, IntArray

BoolArray = npt.NDArray[np.bool_]

_MORE_AT_VISIT, _MORE_AT_STAY, _MOST_MORE = 0.3, 2.0, 8
_CONDITION, _OWN_CODE = 0.45, 0.4
_CASE_SD = 0.25
_OPERATED, _OPERATED_MORE, _OPERATED_LESS = 0.3, 1.30, 0.85
_SEVERE = np.array([0.97, 1.05, 1.20])
# Upcoding names a heart disease or a stroke as the main diagnosis.
_DEAR_CONDITIONS = (2, 3)
_MIDDLE_DIGITS = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnoses:
    """What was coded.

    Attributes:
        visit: Shape (n,), the visit of each diagnosis, rising.
        position: Shape (n,), 1 for the main one; rising in a visit.
        stem: Shape (n,), index into the catalogue's stems.
        spelling: Shape (n,), how it is written.
        old: Shape (n,), whether in version 1.0.
        operated: Shape (visits,), whether an operation was done.
        severity: Shape (visits,), 0 to 2, from the number of diagnoses.
        main: Shape (visits,), stem of the recorded main diagnosis; -1 without diagnoses.
        case: Shape (visits,), true relative cost of the group, near 1; 1 outside stays.
    """

    visit: IntArray
    position: IntArray
    stem: IntArray
    spelling: IntArray
    old: BoolArray
    operated: BoolArray
    severity: IntArray
    main: IntArray
    case: FloatArray


@cache
def stem_weights() -> FloatArray:
    """Relative cost of a stay by main diagnosis, shape (stems,), mean near 1; fixed by the world's seed."""
    rng = np.random.Generator(np.random.PCG64(world.WORLD_SEED + 3))
    draw = rng.standard_normal(len(catalogue.diagnosis_stems()))
    weights: FloatArray = np.exp(_CASE_SD * draw - _CASE_SD**2 / 2)
    weights[catalogue.CONDITION_STEM + np.array(_DEAR_CONDITIONS)] = (1.6, 1.8)
    return weights


def group_weight(stem: IntArray, operated: BoolArray, severity: IntArray) -> FloatArray:
    """Relative cost of payment groups; all of shape (n,)."""
    weight = stem_weights()[stem] * np.where(operated, _OPERATED_MORE, _OPERATED_LESS)
    result: FloatArray = weight * _SEVERE[severity]
    return result


def draw_diagnoses(rng: np.random.Generator, insured: Insured, visits: Visits) -> Diagnoses:
    """Draw what is diagnosed, done and coded.

    Args:
        rng: Source of the draws; for synthetic data only.
        insured: The persons.
        visits: Theirs.

    Guarantees:
        Every visit but those of pharmacies has exactly one main diagnosis, at position 1; a visit never
        names a diagnosis twice; diagnoses of one sex go to persons of that sex.
    """
    more = rng.poisson(np.where(visits.is_stay, _MORE_AT_STAY, _MORE_AT_VISIT))
    count = np.where(visits.kind == PHARMACY, 0, 1 + np.minimum(more, _MOST_MORE))
    visit = np.repeat(np.arange(visits.count), count)
    position = np.arange(visit.size) - np.repeat(np.cumsum(count) - count, count)
    stem = _stems(rng, insured, visits, visit=visit, position=position)
    coded = np.array([p.coded for p in PROVINCES])[visits.province[visit]]
    kept = (position == 0) | (rng.random(visit.size) < coded)
    visit, stem = visit[kept], stem[kept]
    visit, stem, position = _each_once(visit, stem)
    operated = visits.is_stay & (rng.random(visits.count) < _OPERATED)
    severity = np.clip(np.bincount(visit, minlength=visits.count) - 1, 0, 4) // 2
    main = np.full(visits.count, -1)
    main[visit[position == 1]] = stem[position == 1]
    case = np.where(visits.is_stay, group_weight(main, operated, severity), 1.0)
    upcoded = visits.fraud == Fraud.UPCODING.value
    dear = catalogue.CONDITION_STEM + rng.choice(_DEAR_CONDITIONS, visits.count)
    main = np.where(upcoded, dear, main)
    stem = np.where(upcoded[visit] & (position == 1), dear[visit], stem)
    spelling, old = _spellings(rng, visits, visit)
    return Diagnoses(
        visit=visit, position=position, stem=stem, spelling=spelling, old=old,
        operated=operated, severity=severity, main=main, case=case,
    )  # fmt: skip


def _stems(
    rng: np.random.Generator, insured: Insured, visits: Visits, *, visit: IntArray, position: IntArray
) -> IntArray:
    """Choose each diagnosis: one of the person's conditions, of their other codes, or a common one."""
    cohort, owner = insured.cohort, visits.owner[visit]
    stem = (catalogue.DIAGNOSIS_CODES * rng.random(visit.size) ** 2).astype(np.int64)
    mine = cohort.code < catalogue.DIAGNOSIS_CODES
    own = _one_of(rng, cohort.code_owner[mine], cohort.code[mine], owner)
    luck = rng.random(visit.size)
    stem = np.where((luck < _CONDITION + _OWN_CODE) & (own >= 0), own, stem)
    holder, condition = np.nonzero(cohort.conditions)
    chronic = _one_of(rng, holder, condition, owner)
    first = position == 0
    wanted = (luck < _CONDITION) | (first & (visits.kind[visit] == CHRONIC))
    stem = np.where(wanted & (chronic >= 0), catalogue.CONDITION_STEM + chronic, stem)
    stem = np.where(first & (visits.kind[visit] == MATERNITY_STAY), catalogue.BIRTH_STEM, stem)
    tumour, male = stem == catalogue.TUMOUR_STEM, cohort.male[owner]
    stem = np.where(tumour & ~male & (owner % 2 == 0), catalogue.BREAST_STEM, stem)
    return np.where(tumour & male & (owner % 3 == 0), catalogue.PROSTATE_STEM, stem)


def _one_of(rng: np.random.Generator, holders: IntArray, values: IntArray, owner: IntArray) -> IntArray:
    """One of each owner's values, -1 where there is none; ``holders`` rises."""
    start = np.searchsorted(holders, owner)
    count = np.searchsorted(holders, owner, side="right") - start
    picked = start + (count * rng.random(owner.size)).astype(np.int64)
    padded = np.append(values, -1)
    return np.where(count > 0, padded[np.minimum(picked, values.size)], -1)


def _each_once(visit: IntArray, stem: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Drop what a visit names again, in the order of the first mention, and number the rest from 1."""
    key = visit * len(catalogue.diagnosis_stems()) + stem
    _, first = np.unique(key, return_index=True)
    kept = np.sort(first)
    visit, stem = visit[kept], stem[kept]
    start = np.flatnonzero(np.diff(visit, prepend=-1))
    position = np.arange(visit.size) - np.repeat(start, np.diff(np.append(start, visit.size))) + 1
    return visit, stem, position


def _spellings(rng: np.random.Generator, visits: Visits, visit: IntArray) -> tuple[IntArray, BoolArray]:
    """How a code is written: by the institution's version in that month and the province's habit."""
    month, where = month_of(visits.settled), visits.institution
    old = (month < institutions().new_codes_from[where])[visit]
    habit = np.array([catalogue.FULL, catalogue.FULL, catalogue.FULL, catalogue.SHORT])
    here = visits.province[visit]
    shorter = (here == 1) & (rng.random(visit.size) < _MIDDLE_DIGITS)
    spelling = np.where(old, catalogue.OLD, np.where(shorter, catalogue.MIDDLE, habit[here]))
    vague = rng.random(visit.size) < np.array([p.unspecified for p in PROVINCES])[here]
    short = spelling == catalogue.SHORT
    unspecified = np.where(short, catalogue.UNSPECIFIED_SHORT, catalogue.UNSPECIFIED_FULL)
    return np.where(vague, unspecified, spelling), old
