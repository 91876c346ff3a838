"""The RAND Health Insurance Experiment as four sites: real data that ships inside statsmodels.

Families of six American places were assigned insurance plans by lot (1974-1982). statsmodels carries
20,190 person-years with ten columns, stated to be in the public domain. It has no person id: the nine
covariates are baseline values that repeat over a person's years, so a run of rows with equal covariates is
taken for one person (two neighbours with equal covariates would count as one, which protects them
together).
"""

from __future__ import annotations

import hashlib
from functools import cache

import numpy as np
import pyarrow as pa

from fedmed.errors import ConfigError
from fedmed.types import DatasetSpec, Feature, FeatureKind, FloatArray, IntArray, Label, require

SITES = ("site_1", "site_2", "site_3", "site_4")
PERSONS = 5_294
COVARIATES = ("lncoins", "idp", "lpi", "fmde", "physlm", "disea", "hlthg", "hlthf", "hlthp")
VISITS = "mdvis"
MANY_VISITS = 5.0


def tables(seed: int) -> dict[str, pa.Table]:
    """Deal the persons to four sites.

    Args:
        seed: Decides who lives where, >= 0; the rows themselves are always the same.

    Returns:
        Site -> its person-years: ``person`` (pseudonym text), the nine covariates and ``mdvis`` (visits
        to a physician in the year), float64.

    Guarantees:
        All rows of a person are at one site, in their order; every person-year is at exactly one site;
        the sites' numbers of persons are those of `declared_persons` for every seed.

    Raises:
        ConfigError: statsmodels is not installed, or ``seed`` is negative.
    """
    require(seed >= 0, f"seed must be >= 0, got {seed}")
    visits, covariates = _load()
    person = _persons(covariates)
    names = [f"hie{number:05d}" for number in range(int(person[-1]) + 1)]
    site = _deal(names, seed)[person]
    whole = pa.table(
        {
            "person": pa.array(names).take(pa.array(person)),
            **{name: covariates[:, i] for i, name in enumerate(COVARIATES)},
            VISITS: visits,
        }
    )
    return {name: whole.take(pa.array(np.flatnonzero(site == i))) for i, name in enumerate(SITES)}


def declared_persons() -> dict[str, int]:
    """Public number of persons at each site, the same for every seed."""
    return {name: len(range(i, PERSONS, len(SITES))) for i, name in enumerate(SITES)}


def dataset_spec() -> DatasetSpec:
    """The study: five or more visits to a physician in a year, from plan and health at the start.

    Returns:
        Features whose bounds follow from the experiment's design and the definitions of the columns, not
        from the data: coinsurance is at most 100 % (ln 101 < 4.62), the yearly maximum of out-of-pocket
        cost is 1,000 dollars and the lowest positive coinsurance 25 % (ln 4000 < 8.3), participation
        incentives were a few hundred to a thousand dollars (ln < 8), the chronic-disease index of 30
        conditions is scored below 60.
    """
    return DatasetSpec(
        name="rand_hie",
        person="person",
        label=Label(column=VISITS, at_least=MANY_VISITS),
        features=(
            _number("lncoins", 4.62),
            _flag("idp"),
            _number("lpi", 8),
            _number("fmde", 8.3),
            _number("physlm", 1),
            _number("disea", 60, log=True),
            _flag("hlthg"),
            _flag("hlthf"),
            _flag("hlthp"),
        ),
    )


def _number(name: str, high: float, *, log: bool = False) -> Feature:
    """A number from 0 to its public bound."""
    return Feature(name=name, kind=FeatureKind.NUMBER, low=0.0, high=high, log=log)


def _flag(name: str) -> Feature:
    """A column of zeros and ones as one 0/1 input; half the length of -1 and 1, so less is clipped."""
    return Feature(name=name, kind=FeatureKind.CATEGORY, categories=("1",))


@cache
def _load() -> tuple[FloatArray, FloatArray]:
    """Visits, shape (rows,), and covariates, shape (rows, 9), from the installed statsmodels."""
    try:
        from statsmodels.datasets import randhie
    except ImportError:
        raise ConfigError(
            "the RAND Health Insurance Experiment ships inside statsmodels, which is not installed; "
            "run: pip install 'fedmed[datasets]'"
        ) from None
    frame = randhie.load_pandas().data
    visits = frame[VISITS].to_numpy(dtype=np.float64)
    covariates = frame[list(COVARIATES)].to_numpy(dtype=np.float64)
    for array in (visits, covariates):
        array.setflags(write=False)
    return visits, covariates


def _persons(covariates: FloatArray) -> IntArray:
    """Number the runs of rows with equal covariates 0, 1, ...; shape (rows,)."""
    changed = np.any(covariates[1:] != covariates[:-1], axis=1)
    return np.concatenate([[0], np.cumsum(changed, dtype=np.int64)])


def _deal(names: list[str], seed: int) -> IntArray:
    """The site of each person: sorted by a seeded hash, then dealt in turn; shape (persons,)."""
    keys = [hashlib.sha256(f"fedmed/rand-hie/{seed}/{name}".encode()).digest() for name in names]
    site = np.zeros(len(names), dtype=np.int64)
    site[sorted(range(len(names)), key=keys.__getitem__)] = np.arange(len(names)) % len(SITES)
    return site
