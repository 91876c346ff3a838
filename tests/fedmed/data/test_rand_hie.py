"""The RAND experiment: every person-year once, persons whole, bounds that hold."""

import builtins

import numpy as np
import pyarrow as pa
import pytest

from fedmed.data import rand_hie
from fedmed.data.checks import check_tables
from fedmed.data.features import examples
from fedmed.errors import ConfigError


def persons_of(table):
    return set(table["person"].to_pylist())


def test_every_person_year_is_at_exactly_one_site_and_persons_stay_whole():
    sites = rand_hie.tables(3)
    assert tuple(sites) == rand_hie.SITES
    assert sum(table.num_rows for table in sites.values()) == 20_190
    assert len(set().union(*map(persons_of, sites.values()))) == sum(
        len(persons_of(t)) for t in sites.values()
    )


@pytest.mark.parametrize("seed", [0, 1, 12_345])
def test_the_sites_have_the_declared_persons_for_every_seed(seed):
    found = {site: len(persons_of(table)) for site, table in rand_hie.tables(seed).items()}
    assert found == rand_hie.declared_persons()
    assert sum(found.values()) == rand_hie.PERSONS


def test_a_seed_names_one_deal():
    first, again, other = (rand_hie.tables(seed)["site_1"] for seed in (1, 1, 2))
    assert first.equals(again)
    assert persons_of(first) != persons_of(other)


def test_a_person_has_one_set_of_covariates():
    table = pa.concat_tables(rand_hie.tables(1).values())
    frame = table.to_pandas()
    assert (frame.groupby("person")[list(rand_hie.COVARIATES)].nunique() == 1).all(axis=None)


def test_the_declared_bounds_hold_and_the_study_fits():
    sites = rand_hie.tables(1)
    spec = rand_hie.dataset_spec()
    check_tables(sites, spec)
    whole = pa.concat_tables(sites.values())
    for feature in spec.features:
        values = whole[feature.name].to_numpy()
        assert feature.categories in ((), ("1",))
        assert values.min() >= feature.low
        assert values.max() <= feature.high
    found = examples(whole, spec, part="all")
    assert (found.rows, found.persons) == (20_190, rand_hie.PERSONS)
    assert np.abs(found.dense).max() <= 1
    # statsmodels' own table: 4,166 of 20,190 person-years have five visits or more.
    assert found.labels.mean() == pytest.approx(np.mean(whole["mdvis"].to_numpy() >= 5))


def test_a_negative_seed_is_refused():
    with pytest.raises(ConfigError, match="seed must be >= 0"):
        rand_hie.tables(-1)


def test_without_statsmodels_the_error_says_what_to_install(monkeypatch):
    real = builtins.__import__

    def without_statsmodels(name, *args, **kwargs):
        if name.startswith("statsmodels"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    rand_hie._load.cache_clear()
    monkeypatch.setattr(builtins, "__import__", without_statsmodels)
    with pytest.raises(ConfigError, match=r"pip install 'fedmed\[datasets\]'"):
        rand_hie.tables(1)
