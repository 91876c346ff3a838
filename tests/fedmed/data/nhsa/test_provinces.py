from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedmed.data.nhsa.provinces import province_tables
from fedmed.errors import DataContractError


def test_only_the_columns_that_a_study_reads_are_loaded(tmp_path: Path) -> None:
    for number, node in enumerate(("north", "south")):
        (tmp_path / node / "setl").mkdir(parents=True)
        table = pa.table({"psn_no": [f"{node}1"], "cost": [number], "other": [0]})
        pq.write_table(table, tmp_path / node / "setl" / "part-0.parquet")
    found = province_tables(tmp_path, "setl", nodes=("south", "north"), columns=("psn_no", "cost"))
    assert list(found) == ["south", "north"]
    assert found["south"].to_pydict() == {"psn_no": ["south1"], "cost": [1]}
    with pytest.raises(DataContractError, match="column age is missing"):
        province_tables(tmp_path, "setl", nodes=("north",), columns=("psn_no", "age"))
    with pytest.raises(DataContractError, match="no table survey"):
        province_tables(tmp_path, "survey", nodes=("north",), columns=("psn_no",))
    with pytest.raises(DataContractError, match="a folder for each node"):
        province_tables(tmp_path, "setl", nodes=("west",), columns=("psn_no",))
