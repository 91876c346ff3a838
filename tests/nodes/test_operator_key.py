from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from fedmed.errors import ConfigError, IntegrityError, RaiseRefused
from fedmed.governance.operators import ActKind, Operators, check_act, sign_act
from fedmed.socket_messages import Budget, DatasetBudget
from fedmed_nodes.operator_key import create_operator_key, raise_act, read_operator_key, study_act
from tests.operator_acts import PLACE, ROWS, STUDY, YEAR

YEAR_OF = DatasetBudget(
    name="person_year",
    data_year=YEAR,
    cap_epsilon=2.0,
    committed_epsilon=1.0,
    spent_epsilon=0.5,
    fingerprint=ROWS,
)
BUDGET = Budget(studies=(), datasets=(YEAR_OF,), raises=(), place=PLACE)


def test_a_key_file_is_private_signs_for_its_name_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "li.key"
    before = os.umask(0)
    try:
        public = create_operator_key(path, "li.wei")
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    other = create_operator_key(tmp_path / "wang.key", "wang.fang")
    operators = Operators(keys={"li.wei": public, "wang.fang": other}, approvals_needed=2)
    act = study_act(PLACE, ActKind.APPROVE, "li.wei", study=STUDY, reason="")
    assert check_act(sign_act(act, read_operator_key(path)), operators, PLACE) == act
    with pytest.raises(ConfigError, match="there already"):
        create_operator_key(path, "li.wei")


def test_a_key_file_that_others_can_read_that_is_cut_or_missing_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "li.key"
    create_operator_key(path, "li.wei")
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="closed to group and others"):
        read_operator_key(path)
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(IntegrityError):
        read_operator_key(path)
    with pytest.raises(ConfigError, match="fedmed node operator-key"):
        read_operator_key(tmp_path / "nobody.key")
    with pytest.raises(ConfigError, match="name a folder"):
        create_operator_key(tmp_path / "nowhere" / "a.key", "a")
    with pytest.raises(ConfigError, match="operator name"):
        create_operator_key(tmp_path / "b.key", "Li Wei")


def test_a_raise_is_made_for_the_rows_behind_a_name() -> None:
    act = raise_act(BUDGET, "li.wei", rows=("person_year", YEAR), cap_epsilon=3.0, reason="pilot")
    assert (act.dataset_fingerprint, act.data_year, act.cap_epsilon) == (ROWS, YEAR, 3.0)


@pytest.mark.parametrize(
    ("rows", "cap", "said"),
    [
        (("person_year", YEAR + 1), 3.0, "no dataset person_year of year 2027"),
        (("other", YEAR), 3.0, "but person_year 2026"),
        (("person_year", YEAR), 2.0, "the cap is 2 already"),
        (("person_year", YEAR), float("nan"), "the cap is 2 already"),
    ],
)
def test_a_raise_that_would_raise_nothing_is_not_signed(rows: tuple[str, int], cap: float, said: str) -> None:
    with pytest.raises(RaiseRefused, match=said):
        raise_act(BUDGET, "li.wei", rows=rows, cap_epsilon=cap, reason="pilot")
