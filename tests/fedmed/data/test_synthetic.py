"""The synthetic provinces: reproducible, bounded, and near the published figures."""

import json
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fedmed.data import synthetic
from fedmed.data.checks import check_tables
from fedmed.data.features import examples
from fedmed.data.synthetic_parameters import CODES, LABEL_THRESHOLD, PROVINCES
from fedmed.errors import ConfigError

VECTORS = Path(__file__).resolve().parents[2] / "vectors" / "domain_figures.json"
FIGURES = json.loads(VECTORS.read_text())["figures"]
KEYS = ("shanghai", "jiangsu", "zhejiang", "anhui")


@pytest.fixture(scope="module")
def demo():
    return synthetic.province_tables(80_000, seed=1)


@pytest.fixture(scope="module")
def reached(demo):
    """The figures of the vectors file, computed from the tables alone."""
    frames = {key: table.drop_columns(["codes"]).to_pandas() for key, table in demo.items()}
    whole = pa.concat_tables(demo.values()).drop_columns(["codes"]).to_pandas()
    found = {}
    for scheme, code in (("employee", "310"), ("resident", "390")):
        part = whole[whole.insutype == code]
        found[f"{scheme}_visits"] = part.opt_visits.mean()
        found[f"{scheme}_stays"] = part.ipt_stays.mean()
        found[f"{scheme}_stay_cost"] = part.ipt_medfee.sum() / part.ipt_stays.sum()
        found[f"{scheme}_fund"] = part.fund_pay_sumamt.mean()
    cost = np.sort(whole.medfee_sumamt.to_numpy())[::-1]
    found["share_with_cost"] = np.mean(cost > 0)
    found["top_tenth_of_cost"] = cost[: cost.size // 10].sum() / cost.sum()
    found["top_hundredth_of_cost"] = cost[: cost.size // 100].sum() / cost.sum()
    found["stays_away"] = whole.out_setl_stays.sum() / whole.ipt_stays.sum()
    found["labels_at_threshold"] = np.mean(whole.next_year_cost >= LABEL_THRESHOLD)
    found["employee_share"] = np.mean(whole.insutype == "310")
    found["log_sd_of_inpatient_cost"] = np.log(whole.ipt_medfee[whole.ipt_medfee > 0]).std()
    decile = whole.next_year_cost.quantile(0.9)
    for key, frame in frames.items():
        found[f"high_cost_{key}"] = np.mean(frame.next_year_cost >= decile)
        found[f"aged_65_{key}"] = np.mean(frame.age >= 65)
        found[f"aged_0_14_{key}"] = np.mean(frame.age <= 14)
    coded = {"shanghai": 0.92, "jiangsu": 0.85, "zhejiang": 0.88, "anhui": 0.70}
    adults = {key: frame[frame.age >= 18] for key, frame in frames.items()}
    for name in [c.removeprefix("cond_") for c in whole.columns if c.startswith("cond_")]:
        true = sum(adult[f"cond_{name}"].sum() / coded[key] for key, adult in adults.items())
        found[f"adults_with_{name}"] = true / sum(map(len, adults.values()))
    return found


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure["name"])
def test_the_tables_come_near_the_published_figures(figure, reached):
    assert reached[figure["name"]] == pytest.approx(figure["value"], abs=figure["tolerance"])


def test_every_figure_says_where_it_comes_from():
    assert all(figure["source"] and figure["how"] and figure["tolerance"] > 0 for figure in FIGURES)


def test_the_same_seed_gives_the_same_tables():
    first, second = (synthetic.province_tables(3_000, seed=7) for _ in range(2))
    assert list(first) == list(KEYS)
    assert all(first[key].equals(second[key]) for key in KEYS)


@pytest.mark.slow
def test_another_seed_gives_other_persons_in_the_same_world():
    first, second = (synthetic.province_tables(3_000, seed=seed) for seed in (7, 8))
    names = [set(t["psn_no"].to_pylist()) for tables in (first, second) for t in tables.values()]
    assert len(set().union(*names)) == sum(map(len, names)) == 6_000
    assert synthetic.suggested_threshold() == synthetic.suggested_threshold()


@pytest.mark.parametrize("seed", [1, 2**32 - 2])
def test_pseudonyms_differ_between_persons_and_provinces_and_follow_from_their_place(seed):
    names = [synthetic.pseudonyms(seed, province, 0, 2_000).to_pylist() for province in range(len(PROVINCES))]
    assert len({name for some in names for name in some}) == 2_000 * len(PROVINCES)
    assert synthetic.pseudonyms(seed, 1, 700, 300).to_pylist() == names[1][700:1_000]
    assert {len(name) for name in names[0]} == {16}


def test_a_province_can_be_made_without_the_others():
    whole = synthetic.province_tables(3_000, seed=7)
    alone = [batch for _, batch in synthetic.generate(people=3_000, seed=7, provinces=PROVINCES[2:3])]
    assert pa.Table.from_batches(alone).equals(whole["zhejiang"])


@pytest.mark.slow
def test_chunks_are_bounded_and_their_first_persons_do_not_depend_on_the_total():
    sizes = [batch.num_rows for _, batch in synthetic.generate(people=60_000, seed=7)]
    assert max(sizes) <= synthetic.CHUNK_PERSONS
    assert sum(sizes) == 60_000
    small, large = (next(iter(synthetic.generate(people=n, seed=7)))[1] for n in (60_000, 120_000))
    assert small.num_rows == synthetic.CHUNK_PERSONS
    assert small.equals(large)


def test_declared_persons_are_those_of_the_demonstration_and_always_add_up():
    assert list(synthetic.declared_persons(80_000).values()) == [13_400, 26_600, 20_000, 20_000]
    for people in (500, 501, 12_345, 5_000_000):
        assert sum(synthetic.declared_persons(people).values()) == people
    tables = synthetic.province_tables(501, seed=7)
    assert {key: t.num_rows for key, t in tables.items()} == synthetic.declared_persons(501)


@pytest.mark.parametrize("people", [0, 499, 5_000_001])
def test_a_number_of_people_outside_its_bounds_is_refused_at_once(people):
    with pytest.raises(ConfigError, match=r"people must be in 500\.\.5000000"):
        synthetic.generate(people=people, seed=1)
    with pytest.raises(ConfigError, match="seed must be"):
        synthetic.generate(people=500, seed=-1)


@pytest.mark.slow
def test_the_threshold_is_the_one_that_the_world_suggests():
    assert synthetic.suggested_threshold() == LABEL_THRESHOLD


def test_money_adds_up(demo):
    for table in demo.values():
        frame = table.select(
            ["medfee_sumamt", "opt_medfee", "ipt_medfee", "fund_pay_sumamt", "psn_part_amt", "inscp_scp_amt"]
        ).to_pandas()
        assert (frame >= 0).all(axis=None)
        assert np.abs(frame.medfee_sumamt - frame.fund_pay_sumamt - frame.psn_part_amt).max() < 0.006
        assert np.abs(frame.medfee_sumamt - frame.opt_medfee - frame.ipt_medfee).max() < 0.02
        assert (frame.inscp_scp_amt <= frame.medfee_sumamt).all()


def test_codes_are_sorted_distinct_and_inside_the_vocabulary(demo):
    for table in demo.values():
        column = table["codes"].combine_chunks()
        assert column.type == pa.list_(pa.uint16())
        values, starts = column.flatten().to_numpy(), column.offsets.to_numpy()
        rising = np.diff(values.astype(np.int64)) > 0
        inside = np.ones(values.size - 1, dtype=bool)
        inside[starts[1:-1][(starts[1:-1] > 0) & (starts[1:-1] < values.size)] - 1] = False
        assert rising[inside].all()
        assert values.max() < CODES
        assert len(table.schema.metadata[b"vocabulary_sha256"]) == 64


def test_provinces_differ_in_what_they_code_and_leave_out(demo):
    missing = {key: table["opt_visits"].null_count / table.num_rows for key, table in demo.items()}
    # Binomial with at least 13,400 rows: five standard deviations stay below .012.
    for key, share in {"shanghai": 0.01, "jiangsu": 0.03, "zhejiang": 0.02, "anhui": 0.08}.items():
        assert missing[key] == pytest.approx(share, abs=0.012)
    anhui = demo["anhui"].to_pandas()
    assert anhui[anhui.insu_admdvs == "341100"].hosp_lv.isna().all()
    assert np.mean(anhui.code_ver == "1.0") == pytest.approx(0.30, abs=0.02)
    per_person = {key: len(t["codes"].combine_chunks().flatten()) / t.num_rows for key, t in demo.items()}
    assert per_person["anhui"] < per_person["jiangsu"] < per_person["zhejiang"] < per_person["shanghai"]


@pytest.mark.slow
def test_the_study_fits_the_tables(demo):
    spec = synthetic.dataset_spec()
    check_tables(demo, spec)
    found = examples(demo["jiangsu"], spec, part="all")
    assert found.rows == found.persons == 26_600
    assert found.inputs == spec.inputs
    assert np.abs(found.dense).max() <= 1
    # No input is dead: every dense column and nearly every code varies.
    assert (found.dense.std(axis=0) > 0).all()
    assert np.unique(found.codes).size > 0.95 * CODES


@pytest.mark.slow
def test_a_hundred_thousand_people_take_under_five_seconds():
    start = time.process_time()
    rows = sum(batch.num_rows for _, batch in synthetic.generate(people=100_000, seed=7))
    assert rows == 100_000
    assert time.process_time() - start < 5


@pytest.mark.slow
def test_with_codes_the_pooled_model_beats_the_provinces_alone(demo):
    spec = synthetic.dataset_spec()
    train = {key: sparse_inputs(examples(t, spec, part="train")) for key, t in demo.items()}
    test = {key: sparse_inputs(examples(t, spec, part="test")) for key, t in demo.items()}
    pooled = fitted(
        sparse.vstack([x for x, _ in train.values()]), np.concatenate([y for _, y in train.values()])
    )
    alone = {key: fitted(*rows) for key, rows in train.items()}
    pooled_auc = np.mean([auc(pooled, *rows) for rows in test.values()])
    alone_auc = np.mean([auc(alone[key], *rows) for key, rows in test.items()])
    assert 0.80 < alone_auc < pooled_auc < 0.88
    # About .011 over ten seeds, least .008.
    assert pooled_auc - alone_auc > 0.005


def sparse_inputs(found):
    codes = sparse.csr_matrix(
        (np.ones(found.codes.size), found.codes, found.code_starts), shape=(found.rows, found.code_inputs)
    )
    return sparse.hstack([sparse.csr_matrix(found.dense), codes]).tocsr(), found.labels


def fitted(inputs, outcome):
    return LogisticRegression(max_iter=300).fit(inputs, outcome)


def auc(model, inputs, outcome):
    return roc_auc_score(outcome, model.decision_function(inputs))
