"""Rows of a frontier on disk: a small Parquet file a task, so that a killed frontier goes on."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from fedmed.errors import ConfigError
from fedmed.frontier.rows import Row, rows_from, rows_table

FOLDER_NAME = "rows"
MERGED_NAME = "frontier.parquet"


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFolder:
    """Rows of finished tasks.

    Attributes:
        folder: The frontier's folder.
    """

    folder: Path

    def read(self) -> dict[str, tuple[Row, ...]]:
        """Rows by the key of their task.

        Raises:
            UnknownVersion: they are of another version of FedMed.
            ConfigError: a file is not what a frontier writes.
        """
        found = {}
        for path in sorted((self.folder / FOLDER_NAME).glob("*.parquet")):
            try:
                found[path.stem] = rows_from(pq.read_table(path))
            except (OSError, pa.ArrowException) as fault:
                raise ConfigError(f"cannot read {path}: {fault}; remove it, it is computed again") from None
        return found

    def keep(self, key: str, rows: Iterable[Row]) -> None:
        """Write a task's rows; a kill leaves them whole or not at all."""
        _replace(self.folder / FOLDER_NAME / f"{key}.parquet", rows)

    def clear(self) -> None:
        """Forget all rows."""
        for path in (self.folder / FOLDER_NAME).glob("*.parquet"):
            path.unlink()

    def merge(self, rows: Iterable[Row]) -> Path:
        """Write all rows as one table; returns its path."""
        target = self.folder / MERGED_NAME
        _replace(target, rows)
        return target


def _replace(target: Path, rows: Iterable[Row]) -> None:
    """Write beside and rename."""
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(rows_table(rows), draft)
        draft.replace(target)
    except OSError as fault:
        raise ConfigError(
            f"cannot write {target}: {fault.strerror or fault}; choose another folder with --out"
        ) from None
    finally:
        draft.unlink(missing_ok=True)
