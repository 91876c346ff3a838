"""One charged attempt, as a province's ledger records it."""

from __future__ import annotations

from fedmed.privacy.ledger_record import LedgerRecord

RECORD = LedgerRecord(
    dataset_fingerprint=bytes([1]) * 32,
    data_year=2025,
    study_digest=bytes([2]) * 32,
    round_number=3,
    attempt=1,
    plan_digest=bytes([3]) * 32,
    noise_multiplier=23.59,
    clip_norm=4.0,
    grid=4.0 / 4096,
    max_nodes_per_person=1,
    planned_contributors=4,
    dropouts=1,
    colluders=1,
    recorded_at="2026-01-31T08:00:00+00:00",
)
