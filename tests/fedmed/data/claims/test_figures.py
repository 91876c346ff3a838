"""The claims of 60,000 persons come near the published figures of 2023 (national bulletins)."""

from collections import Counter

import numpy as np
import pytest

from fedmed.data.claims.generate import ClaimsSettings, draw_chunk
from fedmed.data.claims.persons import ChunkPlace
from fedmed.data.synthetic_parameters import PROVINCES

# Published value and the distance accepted: chance at this size, and what the shared world was tuned to.
FIGURES = {
    "employee_visits": (6.8, 0.8),
    "resident_visits": (2.7, 0.6),
    "employee_stays": (0.2186, 0.025),
    "resident_stays": (0.207, 0.035),
    "employee_stay_cost": (12_175, 1_500),
    "resident_stay_cost": (7_674, 1_000),
    "employee_fund_share": (0.846, 0.03),
    "resident_fund_share": (0.681, 0.03),
    "employee_fund_a_head": (3_484, 800),
    "resident_fund_a_head": (1_086, 220),
    "days": (8.7, 0.7),
    "stays_away": (0.05, 0.015),
    "deaths": (0.0079, 0.002),
    "fraudulent_claims": (0.015, 0.006),
}


@pytest.fixture(scope="module")
def reached():
    """The figures, from the drawn chunks of one year."""
    sums = Counter()
    settings = ClaimsSettings(people=60_000, years=1)
    for home, (key, persons) in enumerate(settings.persons().items()):
        assert PROVINCES[home].key == key
        place = ChunkPlace(home=home, seed=1, number=0, start=0, persons=persons)
        _, chunk = draw_chunk(settings, place)
        visits, money = chunk.visits, chunk.money
        employee = chunk.insured.cohort.employee
        for name, scheme in (("employee", employee), ("resident", ~employee)):
            mine = scheme[visits.owner]
            stay = mine & visits.is_stay
            sums[f"{name}s"] += scheme.sum()
            sums[f"{name}_visits"] += (mine & ~visits.is_stay).sum()
            sums[f"{name}_stays"] += stay.sum()
            sums[f"{name}_stay_cost"] += money.total[stay].sum() / 100
            sums[f"{name}_stay_scope"] += money.scope[stay].sum() / 100
            sums[f"{name}_stay_fund"] += money.funds[stay].sum() / 100
            sums[f"{name}_fund"] += money.funds[mine].sum() / 100
        sums["days"] += np.maximum(1, visits.nights[visits.is_stay]).sum()
        sums["away"] += (visits.is_stay & (visits.province != visits.insured_province)).sum()
        sums["deaths"] += (chunk.insured.dies < 12).sum()
        sums["fraud"] += (visits.fraud > 0).sum()
        sums["claims"] += visits.count
    stays = sums["employee_stays"] + sums["resident_stays"]
    found = {
        "days": sums["days"] / stays,
        "stays_away": sums["away"] / stays,
        "deaths": sums["deaths"] / 60_000,
        "fraudulent_claims": sums["fraud"] / sums["claims"],
    }
    for name in ("employee", "resident"):
        found[f"{name}_visits"] = sums[f"{name}_visits"] / sums[f"{name}s"]
        found[f"{name}_stays"] = sums[f"{name}_stays"] / sums[f"{name}s"]
        found[f"{name}_stay_cost"] = sums[f"{name}_stay_cost"] / sums[f"{name}_stays"]
        found[f"{name}_fund_share"] = sums[f"{name}_stay_fund"] / sums[f"{name}_stay_scope"]
        found[f"{name}_fund_a_head"] = sums[f"{name}_fund"] / sums[f"{name}s"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", FIGURES)
def test_the_claims_come_near_the_published_figures(name, reached):
    value, tolerance = FIGURES[name]
    assert reached[name] == pytest.approx(value, abs=tolerance)
