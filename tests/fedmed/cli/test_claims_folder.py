"""Claims on disk: complete or not at all, and the gate agrees with what was written."""

import hashlib
import json

import pyarrow.parquet as pq
import pytest

from fedmed.cli import claims_folder
from fedmed.cli.claims_folder import write_claims
from fedmed.cli.edge import run
from fedmed.data.claims.faults import FAULTS
from fedmed.data.claims.generate import ClaimsSettings
from fedmed.data.nhsa.gate import check_folder
from fedmed.data.nhsa.settings import QualitySettings
from fedmed.errors import ConfigError

TINY = ClaimsSettings(people=100, years=1, provinces=("anhui",))
GROUPS = (
    (
        "money_identity_total",
        "ratio_out_of_range",
        "line_price_mismatch",
        "end_before_begin",
        "bad_diag_format",
        "bad_code_value",
        "unknown_institution",
    ),
    (
        "money_identity_fund",
        "fund_over_scope",
        "days_mismatch",
        "no_main_diagnosis",
        "insutype_psn_type_mismatch",
        "orphan_fee_line",
        "late_settlement",
    ),
    (
        "money_identity_person",
        "negative_amount",
        "age_birth_mismatch",
        "settle_before_end",
        "sex_specific_code",
        "lines_not_sum",
    ),
    ("unpaired_reversal", "overlapping_stays", "null_key_column"),
    ("duplicate_setl_id", "duplicate_line", "long_stay", "unspecified_codes"),
)
"""Faults that do not meet in the same cells, so that each is counted alone."""
RATE = 0.4


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.slow
def test_equal_arguments_give_equal_bytes_also_where_memory_is_short(tmp_path, monkeypatch):
    write_claims(tmp_path / "one", TINY)
    write_claims(tmp_path / "two", TINY)
    assert digests(tmp_path / "one") == digests(tmp_path / "two")
    monkeypatch.setattr(claims_folder, "WAITING_BYTES", 1)
    written = write_claims(tmp_path / "short", TINY)
    for (node, table), rows in written.rows.items():
        assert pq.read_table(tmp_path / "short" / node / table).num_rows == rows
    assert (tmp_path / "one/anhui/setl/month=2023-01/part-0.parquet").is_file()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "short", "two"]


def test_what_exists_or_has_no_room_is_refused_and_kept(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    with pytest.raises(ConfigError, match="exists; choose another name"):
        write_claims(tmp_path / "mine", TINY)
    with pytest.raises(ConfigError, match="is no folder"):
        write_claims(tmp_path / "no" / "out", TINY)
    monkeypatch.setattr(claims_folder, "BYTES_A_PERSON_YEAR", 10**15)
    with pytest.raises(ConfigError, match="GB free; choose another place or fewer --people"):
        write_claims(tmp_path / "out", TINY)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("fault", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_run_leaves_nothing(tmp_path, fault):
    def stop(node, persons, rows):
        raise fault

    with pytest.raises((KeyboardInterrupt, ConfigError)) as raised:
        write_claims(tmp_path / "out", TINY, on_written=stop)
    if raised.type is ConfigError:
        assert "No space left on device" in str(raised.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_command_says_what_it_wrote(tmp_path, capsys):
    words = [
        "data",
        "generate",
        "--tables",
        "claims",
        "--people",
        "100",
        "--years",
        "1",
        "--province",
        "anhui",
    ]
    words += ["--fault", "late_settlement", "--rate", "0.5", "--json", str(tmp_path / "out")]
    assert run(words) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["rows"]["anhui"]["psn_insu"] == 100
    faults = json.loads((tmp_path / "out" / "faults.json").read_text())["faults"]["anhui"]
    changed = document["faults"]["anhui"]["late_settlement"]
    assert faults["late_settlement"]["rows_changed"] == changed > 0
    note = json.loads((tmp_path / "out" / "generated.json").read_text())
    assert note["rows"] == document["rows"]
    assert run([*words[:-2], str(tmp_path / "out")]) == 2


def test_an_unknown_fault_writes_nothing(tmp_path):
    words = ["data", "generate", "--tables", "claims", "--fault", "typo", str(tmp_path / "out")]
    assert run(words) == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_gate_finds_nothing_in_clean_provinces(tmp_path):
    write_claims(tmp_path / "out", ClaimsSettings(people=1_500, seed=6, years=1))
    for folder in sorted(p for p in (tmp_path / "out").iterdir() if p.is_dir()):
        report = check_folder(folder, QualitySettings())
        assert report.found == ()


@pytest.mark.slow
def test_the_province_that_leaves_most_empty_passes_the_gate(tmp_path):
    write_claims(tmp_path / "out", ClaimsSettings(people=2_000, seed=6, years=2, provinces=("anhui",)))
    assert check_folder(tmp_path / "out" / "anhui", QualitySettings()).is_fit


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS, ids=lambda group: group[0])
def test_the_gate_names_every_fault_and_counts_it(group, tmp_path):
    settings = ClaimsSettings(people=1_200, seed=6, years=2, provinces=("jiangsu",))
    written = write_claims(tmp_path / "out", settings, faults=group, rate=RATE)
    found = {}
    for outcome in check_folder(tmp_path / "out" / "jiangsu", QualitySettings()).found:
        found.setdefault(outcome.rule.kind, []).append(outcome)
    also = {other for name in group for other in FAULTS[name].also}
    assert set(found) == set(group) | also
    for injected in written.injected:
        (outcome,) = found[injected.fault]
        # Honest coders leave a few diagnoses unspecified, too.
        more = 0.002 * injected.fits if injected.fault == "unspecified_codes" else 0
        assert 0 <= int(outcome.failing) - injected.changed <= more
        # Six standard deviations of a binomial: one false alarm in 500 million.
        assert abs(injected.changed - RATE * injected.fits) <= 3 * injected.fits**0.5


def test_every_fault_is_in_one_group():
    assert sorted(name for group in GROUPS for name in group) == sorted(FAULTS)
