"""Diagnoses: one main one, each once, none of the other sex."""

import numpy as np

from fedmed.data.claims import catalogue
from fedmed.data.claims.visits import MATERNITY_STAY, PHARMACY


def test_every_visit_but_those_of_pharmacies_has_one_main_diagnosis(chunk):
    main = np.bincount(chunk.diagnoses.visit[chunk.diagnoses.position == 1], minlength=chunk.visits.count)
    assert (main == (chunk.visits.kind != PHARMACY)).all()


def test_a_visit_never_names_a_diagnosis_twice(chunk):
    found = chunk.diagnoses
    honest = chunk.visits.fraud[found.visit] == 0
    key = (found.visit * 1_000 + found.stem)[honest]
    assert np.unique(key).size == key.size


def test_diagnoses_of_one_sex_go_to_persons_of_that_sex(chunk):
    found = chunk.diagnoses
    male = chunk.insured.cohort.male[chunk.visits.owner[found.visit]]
    assert not male[found.stem == catalogue.BIRTH_STEM].any()
    assert male[found.stem == catalogue.PROSTATE_STEM].all()
    mothers = chunk.visits.owner[chunk.visits.kind == MATERNITY_STAY]
    assert mothers.size
    assert not chunk.insured.cohort.male[mothers].any()


def test_dear_groups_cost_more(chunk):
    stays = chunk.visits.is_stay
    case = chunk.diagnoses.case
    assert (case[~stays] == 1).all()
    dear = stays & (case > np.quantile(case[stays], 0.8))
    assert chunk.money.total[dear].mean() > chunk.money.total[stays & ~dear].mean()
