"""Regression: a Poisson model of outpatient visits.

fedmed study new --kind glm visits.toml
python -m fedmed.examples.visits visits.toml persons.parquet
"""

from __future__ import annotations

import sys

import pyarrow.compute as pc
import pyarrow.parquet as pq

from fedmed import studies


def main(study: str, data: str) -> None:
    """Run the study on a file with a column ``site`` and print terms, rate ratios and p-values."""
    rows = pq.read_table(data)
    sites = {
        site: rows.filter(pc.equal(rows.column("site"), site))
        for site in rows.column("site").unique().to_pylist()
    }
    terms = studies.run(study, sites).frame("coefficients")
    print(terms[["term", "ratio", "ratio_low", "ratio_high", "p_value"]].round(3).to_string())  # noqa: T201


if __name__ == "__main__":
    main(*sys.argv[1:])
