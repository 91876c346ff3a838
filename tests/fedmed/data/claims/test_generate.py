"""Claims of four provinces: one world, seen from four nodes."""

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from fedmed.data.claims.edits import plain, stacked
from fedmed.data.claims.generate import ClaimsSettings, generate_claims
from fedmed.data.nhsa.arrow import arrow_type
from fedmed.data.nhsa.schema import schema
from fedmed.errors import ConfigError

SMALL = ClaimsSettings(people=400, seed=3, years=1)


def node_tables(settings):
    """Table by (node, table)."""
    found = {}
    for batch in generate_claims(settings):
        for part in batch.parts:
            found.setdefault((part.node, part.table), []).append(part.rows)
    return {key: undictionaried(stacked(*parts)) for key, parts in found.items()}


def undictionaried(rows):
    for place, name in enumerate(rows.schema.names):
        rows = rows.set_column(place, name, plain(rows, name))
    return rows


@pytest.fixture(scope="module")
def tables():
    return node_tables(SMALL)


def test_every_table_has_the_schema_of_the_platform(tables):
    assert {table for _, table in tables} == set(schema().names)
    for (_, name), rows in tables.items():
        columns = schema().table(name).columns
        assert rows.schema.names == [column.name for column in columns]
        for column, field in zip(columns, rows.schema, strict=True):
            assert field.type == arrow_type(column), f"{name}.{column.name}"
            assert not (column.required and rows.column(column.name).null_count), f"{name}.{column.name}"


def test_keys_are_unique_at_a_node(tables):
    for (_, name), rows in tables.items():
        key = list(schema().table(name).key)
        if key:
            assert rows.group_by(key).aggregate([]).num_rows == rows.num_rows, name


def test_equal_settings_give_equal_rows_and_another_seed_other_persons():
    one, same, other = (
        node_tables(ClaimsSettings(people=100, seed=seed, years=1, provinces=("anhui",)))
        for seed in (3, 3, 4)
    )
    assert all(rows.equals(same[key]) for key, rows in one.items())
    persons = [set(t["anhui", "psn_insu"].column("psn_no").to_pylist()) for t in (one, other)]
    assert not persons[0] & persons[1]


def test_a_claim_paid_by_one_province_for_care_in_another_stands_at_both(tables):
    home, away = tables["anhui", "setl"], tables["shanghai", "setl"]
    abroad = pc.and_(
        pc.starts_with(home.column("mdtrtarea_admdvs"), "31"),
        pc.starts_with(home.column("insu_admdvs"), "34"),
    )
    keys = set(home.filter(abroad).column("setl_id").to_pylist())
    assert keys
    assert keys <= set(away.column("setl_id").to_pylist())
    persons = set(home.filter(abroad).column("psn_no").to_pylist())
    known = tables["shanghai", "psn_insu"]
    guests = known.filter(pc.is_in(known.column("psn_no"), pa.array(sorted(persons))))
    assert guests.num_rows == len(persons)
    # The home-node rule: insured elsewhere, so the node of care does not count them.
    assert {code[:2] for code in guests.column("insu_admdvs").to_pylist()} == {"34"}


def test_insured_at_their_own_node_every_person_counts_once(tables):
    regions = {"shanghai": "31", "jiangsu": "32", "zhejiang": "33", "anhui": "34"}
    own = []
    for node, region in regions.items():
        rows = tables[node, "psn_insu"].to_pylist()
        own += [(r["psn_no"], r["begn_ym"], r["end_ym"]) for r in rows if r["insu_admdvs"][:2] == region]
    twice = {}
    for person, *period in own:
        twice.setdefault(person, []).append(period)
    assert len(twice) == SMALL.people
    for periods in twice.values():
        # A mover is insured at one node until the move and at the other from the month after.
        first, *later = sorted(periods)
        assert all(first[1] < period[0] for period in later)


def test_the_funds_months_are_the_settlements(tables):
    paid = [tables[node, "setl"] for node in SMALL.provinces]
    rows = pa.concat_tables([t.select(["insu_admdvs", "setl_id", "fund_pay_sumamt"]) for t in paid])
    once = rows.group_by(["setl_id", "insu_admdvs"]).aggregate([("fund_pay_sumamt", "max")])
    months = pa.concat_tables([tables[node, "fund_month"] for node in SMALL.provinces])
    total = pc.sum(once.column("fund_pay_sumamt_max")).as_py()
    assert total == pc.sum(months.column("expend")).as_py()


def test_reversals_negate_their_settlement(tables):
    rows = [row for node in SMALL.provinces for row in tables[node, "setl"].to_pylist()]
    settled = {r["mdtrt_id"]: r for r in rows if r["refd_setl_flag"] == "0"}
    undone = [r for r in rows if r["refd_setl_flag"] == "1"]
    assert undone
    for r in undone:
        first = settled[r["mdtrt_id"]]
        assert r["setl_id"] != first["setl_id"]
        assert r["setl_time"] > first["setl_time"]
        assert (r["medfee_sumamt"], r["psn_cash_pay"]) == (-first["medfee_sumamt"], -first["psn_cash_pay"])
        assert (r["age"], r["pool_prop_selfpay"]) == (first["age"], first["pool_prop_selfpay"])


def test_months_file_every_row_once():
    for batch in generate_claims(ClaimsSettings(people=100, years=1, provinces=("anhui",))):
        for part in batch.parts:
            months = list(part.by_month())
            assert sum(rows.num_rows for _, rows in months) == part.rows.num_rows
            assert [m for m, _ in months] == sorted({m for m, _ in months})
            assert (part.month is not None) == bool(schema().table(part.table).month_of)


def test_without_fraud_nothing_is_labelled():
    found = node_tables(ClaimsSettings(people=400, years=1, fraud=False, provinces=("zhejiang",)))
    assert ("zhejiang", "label_fraud") not in found


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"people": 99}, r"people must be in 100\.\.20000000, got 99"),
        ({"people": 500, "seed": -1}, "seed must be"),
        ({"people": 500, "years": 6}, r"years must be in 1\.\.5, got 6"),
        ({"people": 500, "provinces": ("beijing",)}, "no province beijing; choose among shanghai"),
        ({"people": 500, "provinces": ("anhui", "anhui")}, "each province once"),
        ({"people": 500, "provinces": ()}, "at least one"),
    ],
)
def test_settings_out_of_their_bounds_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        ClaimsSettings(**settings)


def test_persons_are_shared_out_as_in_the_demonstration():
    assert list(ClaimsSettings(people=80_000).persons().values()) == [13_400, 26_600, 20_000, 20_000]
    assert ClaimsSettings(people=101, provinces=("anhui", "shanghai")).persons() == {
        "shanghai": 40,
        "anhui": 61,
    }
