from __future__ import annotations

from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedmed.cli.claims_folder import write_claims
from fedmed.data.claims.generate import ClaimsSettings
from fedmed.data.nhsa.schema import INPATIENT
from fedmed.data.provinces import REGIONS, province_tables
from fedmed.errors import ConfigError, DataContractError

NODES = ("shanghai", "jiangsu", "zhejiang", "anhui")


@pytest.fixture(scope="module")
def provinces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "provinces"
    write_claims(folder, ClaimsSettings(people=1_200, years=2))
    return folder


def all_stays(folder: Path) -> set[tuple[str, str, str]]:
    """Visit, and regions of insurance and of care, of every stay that was not reversed, each once."""
    columns = ["setl_id", "mdtrt_id", "med_type", "refd_setl_flag", "insu_admdvs", "mdtrtarea_admdvs"]
    rows = pd.concat(pq.read_table(folder / n / "setl", columns=columns).to_pandas() for n in NODES)
    stays = rows[rows["med_type"].isin(INPATIENT)].drop_duplicates("setl_id")
    signed = stays.assign(sign=1 - 2 * (stays["refd_setl_flag"] == "1"))
    visits = signed.groupby("mdtrt_id").agg({"sign": "sum", "insu_admdvs": "min", "mdtrtarea_admdvs": "min"})
    kept = visits[visits["sign"] > 0]
    return set(zip(kept.index, kept["insu_admdvs"].str[:2], kept["mdtrtarea_admdvs"].str[:2], strict=True))


@pytest.mark.slow
def test_all_provinces_together_tell_of_each_stay_once(provinces: Path) -> None:
    columns = ("psn_no", "insu_admdvs", "mdtrtarea_admdvs")
    tables = province_tables(provinces, "stay", nodes=NODES, columns=columns)
    told = pa.concat_tables(tables.values()).to_pandas()
    flows = Counter(zip(told["insu_admdvs"].str[:2], told["mdtrtarea_admdvs"].str[:2], strict=True))
    due = Counter((home, care) for _, home, care in all_stays(provinces))
    assert flows == due
    assert sum(number for (home, care), number in due.items() if home != care) >= 5


@pytest.mark.slow
def test_a_persons_first_stay_is_at_one_node(provinces: Path) -> None:
    tables = province_tables(provinces, "first_stay", nodes=NODES, columns=("psn_no",))
    persons = [person for table in tables.values() for person in table["psn_no"].to_pylist()]
    assert len(persons) == len(set(persons)) > 100


@pytest.mark.slow
def test_provinces_that_nobody_knows_say_their_regions(provinces: Path, tmp_path: Path) -> None:
    (tmp_path / "east").symlink_to(provinces / "shanghai")
    with pytest.raises(ConfigError, match=r'east = \["310000"\]'):
        province_tables(tmp_path, "stay", nodes=("east",), columns=("psn_no",))
    (tmp_path / REGIONS).write_text('east = ["310000"]')
    found = province_tables(tmp_path, "stay", nodes=("east",), columns=("psn_no",))
    assert found["east"].equals(
        province_tables(provinces, "stay", nodes=NODES, columns=("psn_no",))["shanghai"]
    )
    (tmp_path / REGIONS).write_text('east = "310000"')
    with pytest.raises(ConfigError, match="east must be a list of regions"):
        province_tables(tmp_path, "stay", nodes=("east",), columns=("psn_no",))


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
