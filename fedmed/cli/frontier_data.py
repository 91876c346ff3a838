"""Which rows a frontier runs on: a file, or a demonstration that is generated again for each seed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from fedmed.cli.demo_study import RAND_DATASET, SYNTHETIC_DATASET, Source, demo_tables
from fedmed.cli.tables import sites_of
from fedmed.errors import ConfigError
from fedmed.study import TrainingStudy

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRows:
    """A `fedmed.frontier.runs.Population` that a seed generates.

    Attributes:
        source: Which demonstration.
    """

    source: Source

    @property
    def identity(self) -> str:
        """Says which rows these are; the version of the generator is part of the installed wheel."""
        return f"demo {self.source.value}"

    def __call__(self, *, people: int, seed: int) -> Mapping[str, pa.Table]:
        """See `fedmed.frontier.runs.Population`."""
        return _generated(self.source, people, seed)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRows:
    """A `fedmed.frontier.runs.Population` in a file; another seed holds out other persons.

    Attributes:
        path: CSV or Parquet file, absolute; a worker on another machine finds it at the same place.
        person: Column with the person's pseudonym.
        site_column: Column that names the site.
        contents: Digest of the file, hexadecimal.
    """

    path: Path
    person: str
    site_column: str
    contents: str

    @property
    def identity(self) -> str:
        """Says which rows these are: another file, or other contents, is another population."""
        return f"file {self.contents} {self.person} {self.site_column}"

    def __call__(self, *, people: int, seed: int) -> Mapping[str, pa.Table]:
        """See `fedmed.frontier.runs.Population`."""
        from fedmed.frontier.population import salted

        del people  # all rows; who is kept is chosen from them
        return salted(_read(self.path, self.person, self.site_column), person=self.person, seed=seed)


Rows = DemoRows | FileRows


def rows_for(spec: TrainingStudy, *, data: Path | None, site_column: str) -> Rows:
    """The population of a study.

    Raises:
        ConfigError: no file is given and the dataset is no demonstration's, or the file cannot be read.
    """
    if data is not None:
        try:
            with data.open("rb") as file:
                contents = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as fault:
            raise ConfigError(f"cannot read {data}: {fault.strerror}; give a CSV or Parquet file") from None
        return FileRows(
            path=data.absolute(), person=spec.data.person, site_column=site_column, contents=contents
        )
    sources = {SYNTHETIC_DATASET: Source.SYNTHETIC, RAND_DATASET: Source.RAND_HIE}
    if spec.data.dataset not in sources:
        raise ConfigError(
            f"dataset {spec.data.dataset} is not one that FedMed can generate "
            f"({SYNTHETIC_DATASET}, {RAND_DATASET}); give the rows with --data FILE"
        )
    return DemoRows(source=sources[spec.data.dataset])


# A worker does the tasks of one seed one after the other; two are kept, for threads share them.
@lru_cache(maxsize=2)
def _generated(source: Source, people: int, seed: int) -> Mapping[str, pa.Table]:
    """A demonstration's rows, kept."""
    return demo_tables(source, people=people, seed=seed)


@lru_cache(maxsize=1)
def _read(path: Path, person: str, site_column: str) -> Mapping[str, pa.Table]:
    """A file's rows by site, kept."""
    return sites_of(path, person, site_column)
