"""Canaries go through the kernel of persons: C on their own coordinate, whatever C is."""

from __future__ import annotations

import numpy as np
import pytest

from fedmed.models.canary_rows import ROWS_OF_A_CANARY, canary_rows, canary_sum
from fedmed.models.layout import PersonClip
from tests.audited_rounds import clipped, clipped_by_batch, clipped_by_record, not_clipped

PRESENT = np.array([True, False, True, True, False])


@pytest.mark.parametrize("norm", [1e-6, 0.3, 1.0, 4.0, 1e6])
@pytest.mark.parametrize("rows", ["mean", "sum"])
def test_a_canary_adds_one_clip_norm_to_its_own_coordinate(norm: float, rows: str) -> None:
    clip = PersonClip(norm=norm, rows=rows)  # type: ignore[arg-type]  # one of the two words above
    found = canary_sum(PRESENT, clip=clip, clip_sum=clipped)
    np.testing.assert_allclose(found, norm * PRESENT, rtol=2e-6)
    assert found.max() <= norm


def test_a_canary_has_several_rows_far_longer_than_the_clip() -> None:
    rows = canary_rows(PRESENT, clip_norm=3.0)
    assert (rows.persons, rows.rows) == (3, 3 * ROWS_OF_A_CANARY)
    assert ROWS_OF_A_CANARY >= 2
    assert np.linalg.norm(rows.matrix(), axis=1).min() / 2 >= 2**19 * 3.0


def test_no_canary_is_no_call() -> None:
    assert not canary_sum(np.zeros(5, dtype=np.bool_), clip=PersonClip(norm=1.0), clip_sum=clipped).any()


@pytest.mark.parametrize("wrong", [not_clipped, clipped_by_batch, clipped_by_record])
def test_wrong_clipping_shows_in_the_sum(wrong: object) -> None:
    found = canary_sum(PRESENT, clip=PersonClip(norm=1.0), clip_sum=wrong)  # type: ignore[arg-type]
    assert abs(found[PRESENT].mean() - 1) > 0.5
