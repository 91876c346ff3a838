"""Writes the generator's chunks to one Parquet file, as they come: memory does not grow with people."""

from __future__ import annotations

import os
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fedmed.data.synthetic import generate
from fedmed.errors import ConfigError

SITE = "site"


def write_provinces(path: Path, *, people: int, seed: int) -> int:
    """Write all four provinces to one file.

    Args:
        path: Ends in ``.parquet`` and must not exist; it appears only when it is complete.
        people: Insured persons in all, 500 to 5,000,000.
        seed: Equal seeds give equal rows.

    Returns:
        Rows written.

    Raises:
        ConfigError: ``people`` is out of range, or the file is named as another format, exists or cannot be
            written; nothing is left.
    """
    if path.suffix != ".parquet":
        raise ConfigError(f"{path} is written as Parquet: call it {path.with_suffix('.parquet').name}")
    if path.exists():
        raise ConfigError(f"{path} exists; choose another name")
    chunks = generate(people=people, seed=seed)
    first = next(chunks)  # refuses a wrong number of people before a file is made
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    rows = 0
    try:
        with pq.ParquetWriter(partial, _with_site(*first).schema) as writer:
            for site, batch in chain([first], chunks):
                writer.write_batch(_with_site(site, batch))
                rows += batch.num_rows
        partial.rename(path)
    except OSError as fault:
        raise ConfigError(f"cannot write {path}: {fault.strerror or fault}; choose another place") from None
    finally:
        partial.unlink(missing_ok=True)
    return rows


def _with_site(site: str, batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with its province in front."""
    names = pa.array([site] * batch.num_rows, type=pa.string())
    return pa.RecordBatch.from_arrays([names, *batch.columns], names=[SITE, *batch.schema.names])
