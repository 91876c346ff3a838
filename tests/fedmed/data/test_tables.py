"""Files are read whole or refused; a refusal names columns and counts and never a cell."""

import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedmed.data.tables import read_table, split_by_site
from fedmed.errors import DataContractError


def write(folder, text, name="table.csv"):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_csv_comes_as_text_in_the_order_of_the_file(tmp_path):
    table = read_table(write(tmp_path, "site,x,y\na,01,1\nb,,0\n"))
    assert table.to_pylist() == [{"site": "a", "x": "01", "y": "1"}, {"site": "b", "x": None, "y": "0"}]


def test_gzipped_csv_and_quoted_newlines_are_read(tmp_path):
    path = write(tmp_path, gzip.compress(b'site,note\na,"two\nlines, one cell"\n'), "t.csv.gz")
    assert read_table(path).to_pylist() == [{"site": "a", "note": "two\nlines, one cell"}]


def test_many_blocks_are_read_although_types_change_on_the_way(tmp_path):
    lines = ["id,x", *(f"{i},{i}" for i in range(200_000)), "last,not a number"]
    table = read_table(write(tmp_path, "\n".join(lines)))
    assert table.num_rows == 200_001
    assert table["x"][-1].as_py() == "not a number"


def test_parquet_keeps_its_types(tmp_path):
    table = pa.table({"id": ["a", "b"], "codes": [[1, 2], []], "x": [1.5, None]})
    pq.write_table(table, tmp_path / "t.parquet")
    assert read_table(tmp_path / "t.parquet").equals(table)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("site,x\n", "no rows"),
        ("x,y,x\n1,2,3\n", "the header names x more than once"),
        ("x,,y\n1,2,3\n", "empty column name"),
        ("x,psn_name\n1,Confidential\n", "column psn_name identifies persons directly"),
        ("x,CertNo\n1,Confidential\n", "column CertNo identifies persons directly"),
        ("x,y\n1,2\nConfidential\n3,4,5\n", "2 rows have another number of fields"),
        (b"x,y\n1,\xff\xfeConfidential\n", "line 2 is not UTF-8"),
        (b"x,\xff\n1,Confidential\n", "line 1 is not UTF-8"),
    ],
)
def test_unfit_csv_is_refused_without_quoting_a_cell(tmp_path, text, message):
    with pytest.raises(DataContractError) as caught:
        read_table(write(tmp_path, text))
    assert message in str(caught.value)
    assert "table.csv" in str(caught.value)
    assert "Confidential" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_rows_of_another_width_are_counted_wherever_they_stand(tmp_path):
    first, second = 300_000 * "1,2\n", "a,b\nConfidential\n"  # text where the first block held numbers
    with pytest.raises(DataContractError, match=r"table\.csv: 2 rows have another number of fields"):
        read_table(write(tmp_path, "x,y\nConfidential\n" + first + second))


def test_unfit_files_of_other_kinds_are_refused(tmp_path):
    with pytest.raises(DataContractError, match="no such file"):
        read_table(tmp_path / "absent.csv")
    with pytest.raises(DataContractError, match="unknown kind of file"):
        read_table(write(tmp_path, "x\n1\n", "t.xlsx"))
    with pytest.raises(DataContractError, match="not readable as Parquet"):
        read_table(write(tmp_path, "no parquet at all", "t.parquet"))
    with pytest.raises(DataContractError, match="cannot be read to its end"):
        read_table(write(tmp_path, b"\x1f\x8b broken", "t.csv.gz"))
    with pytest.raises(DataContractError, match="cannot be read to its end"):
        read_table(write(tmp_path, gzip.compress(b"x,y\n" + 9_999 * b"1,2\n")[:-9], "t.csv.gz"))
    with pytest.raises(DataContractError, match="not readable as CSV"):
        read_table(write(tmp_path, b"\n\n", "t.csv"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("person,city\n1,上海\n".encode("gb18030"), "iconv -f GB18030"),
        (b"x,y\n1,2\n\xc8,\xc8,3\n", "line 3 is not UTF-8"),  # a ragged row, which Arrow hands back as text
        (b"x\n1\n" + b"\xe4\xb8", "line 3 is not UTF-8"),  # cut in the middle of a character
        (b"x\n" + 400_000 * b"123\n" + b"\xff\n", "line 400002 is not UTF-8"),  # in the second block
        (b"PAR1 and so on", "call it table.parquet"),
    ],
)
def test_a_csv_that_is_no_utf8_text_is_refused_without_a_trace(tmp_path, capsys, content, message):
    with pytest.raises(DataContractError, match=message):
        read_table(write(tmp_path, content, "table.csv"))
    assert capsys.readouterr().err == ""


def test_identifiers_in_parquet_are_refused(tmp_path):
    pq.write_table(pa.table({"certno": ["1"]}), tmp_path / "t.parquet")
    with pytest.raises(DataContractError, match="column certno identifies persons"):
        read_table(tmp_path / "t.parquet")


def test_a_table_splits_by_site_and_loses_no_row():
    table = pa.table({"site": ["b", "a", "b", "a"], "x": [1, 2, 3, 4]})
    found = split_by_site(table, "site")
    assert list(found) == ["a", "b"]
    assert {site: part["x"].to_pylist() for site, part in found.items()} == {"a": [2, 4], "b": [1, 3]}
    assert all(part.column_names == ["x"] for part in found.values())


def test_a_missing_site_column_and_rows_without_site_are_refused():
    with pytest.raises(DataContractError, match=r"site column site is missing; did you mean sites\?"):
        split_by_site(pa.table({"sites": ["a"], "x": [1]}), "site")
    with pytest.raises(DataContractError, match="1 of 2 rows name no site"):
        split_by_site(pa.table({"site": ["a", None], "x": [1, 2]}), "site")
    with pytest.raises(DataContractError, match="2 of 2 rows name no site"):
        split_by_site(pa.table({"site": pa.nulls(2), "x": [1, 2]}), "site")


def test_sites_that_are_numbers_become_text():
    found = split_by_site(pa.table({"site": [1.0, 2.0], "x": [1, 2]}), "site")
    assert list(found) == ["1", "2"]


def test_a_path_may_be_text(tmp_path):
    assert read_table(str(write(tmp_path, "x\n1\n"))).num_rows == 1
    assert isinstance(tmp_path, Path)


def test_parquet_text_that_is_no_utf8_is_refused_when_read(tmp_path):
    offsets, data = pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")
    broken = pa.StringArray.from_buffers(1, offsets, data)
    pq.write_table(pa.table({"c": broken}), tmp_path / "t.parquet", store_schema=False)
    with pytest.raises(DataContractError, match=r"t\.parquet: not readable as Parquet"):
        read_table(tmp_path / "t.parquet")
