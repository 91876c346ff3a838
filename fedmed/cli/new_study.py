"""What ``fedmed study new`` writes: looks at a file if there is one, and makes sure the result loads."""

from __future__ import annotations

import datetime
from pathlib import Path

from fedmed.cli.demo_study import Source, demo_study, feature_tables
from fedmed.cli.study_file import demonstration_text, inline_table, parse_label, propose, proposed_text
from fedmed.cli.tables import ROW_NUMBER, node_key, sites_of
from fedmed.study import load_study
from fedmed.types import Scheme

DAYS = 365
DEMO_PEOPLE = 80_000


def demonstration_file(today: datetime.date) -> str:
    """The study file of the demonstration with synthetic provinces; it expires a year from ``today``."""
    spec = demo_study(Source.SYNTHETIC, people=DEMO_PEOPLE, epsilon=1.0, scheme=Scheme.THRESHOLD, today=today)
    text = demonstration_text(spec, tuple(inline_table(one) for one in feature_tables(spec.dataset_spec)))
    load_study(text)
    return text


def proposed_file(
    data: Path, *, site_column: str, label: str, person: str | None, today: datetime.date
) -> str:
    """A study file proposed for a CSV or Parquet file; it expires a year from ``today``.

    Raises:
        ConfigError: label or person column are not there, or fewer than three sites.
        DataContractError: the file cannot be read or split.
    """
    sites = sites_of(data, person or ROW_NUMBER, site_column)
    proposal = propose(sites, label=parse_label(label), person=person or ROW_NUMBER)
    study_id = node_key(data.name.split(".")[0]) or "study"
    text = proposed_text(proposal, study_id=study_id, expires=str(today + datetime.timedelta(days=DAYS)))
    load_study(text)
    return text
