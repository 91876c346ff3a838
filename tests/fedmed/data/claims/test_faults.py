"""Faults: each changes the rows that it says, and no others."""

import numpy as np
import pytest

from fedmed.data.claims.edits import plain, stacked
from fedmed.data.claims.faults import FAULTS, fault, inject
from fedmed.data.claims.generate import Batch, ClaimsSettings, generate_claims
from fedmed.data.claims.injection import spoiled
from fedmed.errors import ConfigError

SETTINGS = ClaimsSettings(people=300, seed=2, years=1, provinces=("jiangsu",))
ADDS = {"duplicate_setl_id", "duplicate_line", "orphan_fee_line"}


@pytest.fixture(scope="module")
def batch() -> Batch:
    return next(generate_claims(SETTINGS))


@pytest.fixture(scope="module")
def tables(batch):
    found = {}
    for part in batch.parts:
        found.setdefault(part.table, []).append(part.rows)
    return {name: stacked(*parts) for name, parts in found.items()}


def texts(rows):
    """Every row as one text, to compare tables by."""
    columns = [plain(rows, name).to_pylist() for name in rows.schema.names]
    return [repr(row) for row in zip(*columns, strict=True)]


@pytest.mark.slow
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_changes_the_rows_that_it_says_and_no_others(name, tables):
    rng = np.random.Generator(np.random.PCG64(1))
    found = inject(rng, tables, name, rate=0.5)
    table = FAULTS[name].table
    before, after = texts(tables[table]), texts(found.rows)
    assert found.fits > 0
    if name in ADDS:
        assert after[: len(before)] == before
        assert len(after) - len(before) == found.changed
    elif name == "lines_not_sum":
        assert len(before) - len(after) == found.changed
        assert set(after) <= set(before)
    else:
        changed = sum(a != b for a, b in zip(before, after, strict=True))
        # A diagnosis may be unspecified already.
        assert changed <= found.changed
        assert changed >= 0.9 * found.changed
    # Six standard deviations of a binomial: one false alarm in 500 million.
    assert abs(found.changed - 0.5 * found.fits) <= 3 * np.sqrt(found.fits)


def test_an_unknown_fault_and_a_rate_out_of_range_are_refused(tables):
    with pytest.raises(ConfigError, match="no fault typo; choose among age_birth_mismatch"):
        fault("typo")
    rng = np.random.Generator(np.random.PCG64(1))
    for rate in (0.0, 1.1):
        with pytest.raises(ConfigError, match="rate must be in"):
            inject(rng, tables, "long_stay", rate=rate)


def test_the_same_seed_spoils_the_same_rows(batch):
    names = ("late_settlement", "duplicate_line")
    one, counts = spoiled(batch, names, rate=0.1, seed=7)
    two, same = spoiled(batch, names, rate=0.1, seed=7)
    assert counts == same
    assert [(c.node, c.fault, c.table) for c in counts] == [
        ("jiangsu", "late_settlement", "setl"),
        ("jiangsu", "duplicate_line", "fee_list"),
    ]
    assert all(a.rows.equals(b.rows) for a, b in zip(one.parts, two.parts, strict=True))
    assert all(part.month is None or part.month.size == part.rows.num_rows for part in one.parts)


def test_without_faults_a_batch_stays_as_it_was(batch):
    assert spoiled(batch, (), rate=0.1, seed=7) == (batch, ())
