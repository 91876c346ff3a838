"""Study files that are ready to run on generated provinces: one for each kind of question."""

from __future__ import annotations

import datetime
from importlib.resources import files

from fedmed.cli.ready_kinds import ReadyStudy
from fedmed.study import load_study

_FILES = {
    ReadyStudy.STATISTICS: "inpatient_cost.toml",
    ReadyStudy.FLOW: "cross_province.toml",
    ReadyStudy.GLM: "visits.toml",
    ReadyStudy.COX: "readmission_cox.toml",
    ReadyStudy.SURVIVAL: "readmission.toml",
}
DAYS = 365
PROVINCES_LINE = "fedmed data generate --tables claims --people 20000 --years 2 provinces"
PERSONS_LINE = "fedmed data generate --people 20000 persons.parquet"


def ready_study(kind: ReadyStudy, *, today: datetime.date) -> str:
    """The commented file of a kind other than training; it expires a year from ``today``.

    Guarantees:
        It loads as it stands.
    """
    text = files("fedmed.cli").joinpath("studies", _FILES[kind]).read_text(encoding="utf-8")
    text = text.replace("$expires", str(today + datetime.timedelta(days=DAYS)))
    load_study(text)
    return text


def next_commands(kind: ReadyStudy, path: str) -> str:
    """The commands that make the rows and run the study."""
    is_claims = kind is not ReadyStudy.GLM
    data = "provinces" if is_claims else "persons.parquet"
    lines = (PROVINCES_LINE if is_claims else PERSONS_LINE, f"fedmed study run {path} --data {data}")
    return "\n".join(f"      {line}" for line in lines)
