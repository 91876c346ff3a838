"""Rows survive their table; another version is refused."""

from __future__ import annotations

import pytest

from fedmed.errors import UnknownVersion
from fedmed.frontier.rows import read_events, rows_from, rows_table, written_events
from fedmed.types import PrivacyEvent
from tests.frontier_rows import ROW, baseline

ROWS = (ROW, baseline("pooled", 0.85), baseline("central", 0.81, epsilon=1.0))


def test_rows_come_back_from_their_table() -> None:
    assert rows_from(rows_table(ROWS)) == ROWS


def test_a_table_of_another_version_or_kind_is_refused() -> None:
    table = rows_table(ROWS)
    for other in (table.replace_schema_metadata({b"fedmed.frontier": b"2"}), table.drop_columns(["auc"])):
        with pytest.raises(UnknownVersion, match="--fresh"):
            rows_from(other)


def test_releases_come_back_from_their_text() -> None:
    events = (
        PrivacyEvent(noise_multiplier=2.5, count=42),
        PrivacyEvent(noise_multiplier=1.0, sample_rate=0.1),
    )
    assert read_events(written_events(events)) == events
