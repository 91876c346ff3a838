"""Rows that describe persons and places: what a reader may add up, adds up."""

import numpy as np
import pytest

from fedmed.data.claims.calendar import month_of
from fedmed.data.claims.public_rows import care_rows

ITEMS = {"adl": 10, "cog": 4, "sense": 3}


@pytest.fixture(scope="module")
def care(chunk):
    """Assessments of the same persons by twelve draws: the person of each row, and the rows."""
    drawn = [care_rows(np.random.default_rng(seed), chunk.insured, months=24) for seed in range(12)]
    assert sum(owner.size for owner, _ in drawn) > 20
    return drawn


def test_items_of_an_assessment_sum_to_their_scores(care):
    for _, rows in care:
        for part, items in ITEMS.items():
            points = sum(rows[f"{part}_{k + 1}"].to_numpy() for k in range(items))
            assert (points == rows[f"{part}_score"].to_numpy()).all()


def test_nobody_is_assessed_before_being_insured_after_death_or_twice(chunk, care):
    for owner, rows in care:
        month = month_of((rows["assess_date"].to_numpy() - np.datetime64("2023-01-01")).astype(int))
        assert (month >= chunk.insured.begins[owner]).all()
        assert (month <= chunk.insured.dies[owner]).all()
        assert np.unique(owner).size == owner.size
