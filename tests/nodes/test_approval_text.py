"""What an operator reads before a yes: true to the study's bytes, in both languages, and lined up."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa
import pytest

from fedmed.errors import DigestMismatch
from fedmed.privacy.accounting import fallback_epsilon
from fedmed.protocol.schedule import schedule_for
from fedmed.socket_messages import StudyReview, StudyStanding
from fedmed.study import PURPOSES, StudySpec, canonical_bytes, study_digest
from fedmed.types import Scheme, StudyKind
from fedmed_nodes.aligned import width_of
from fedmed_nodes.approval_text import MODELS_ZH, PURPOSES_ZH, approval_document, approval_lines
from tests.operator_acts import PLACE
from tests.small_province import small_study
from tests.small_question import small_question
from tests.small_regression import fitting

SPEC = small_study()


def review_of(spec: StudySpec = SPEC, **changes: object) -> StudyReview:
    review = StudyReview(
        canonical=canonical_bytes(spec),
        place=PLACE,
        operators=("li.wei", "wang.fang", "zhao.min"),
        signed_by=("li.wei",),
        standing=StudyStanding.WAITING,
        dataset="person_year",
        data_year=2026,
        cap_epsilon=4.0,
        spent_epsilon=0.5,
        committed_epsilon=1.0,
        with_study_epsilon=1.465,
        grades=(("age", "sensitive"),),
        remarks=(),
        refusal="",
    )
    return replace(review, **changes)  # type: ignore[arg-type]


def lines_of(review: StudyReview) -> str:
    return approval_lines(approval_document(review, study_digest(review.canonical)))


def test_every_figure_is_the_studys_own() -> None:
    document = approval_document(review_of(), study_digest(canonical_bytes(SPEC)))
    schedule = schedule_for(SPEC)
    fallback = fallback_epsilon(
        schedule.planned_events,
        schedule.accounted_delta,
        honest_contributors=schedule.allowance.honest_contributors,
    )
    assert document["costs"] == {"epsilon": 1.0, "delta": 1e-5, "fallback_epsilon": fallback}
    assert document["computes"]["columns"] == [
        {"name": "sick", "role": "outcome", "label": "", "bounds": "", "grade": ""},
        {"name": "age", "role": "number", "label": "年龄", "bounds": "0..100", "grade": "sensitive"},
        {"name": "visits", "role": "number", "label": "就诊人次", "bounds": "0..10", "grade": ""},
    ]
    assert (document["leaves"]["sums"], document["leaves"]["threshold"]) == (4, 3)


def test_both_languages_say_what_leaves_and_what_it_costs() -> None:
    text = lines_of(review_of())
    for said in (
        "ε = 1，δ = 1e-05",
        "任何一行原始数据都不出省",
        "4个省级节点中须有3个共同参与",
        "epsilon 1 a person, delta 1e-05",
        "at most 4 sums",
        "3 of 4 provinces must open a sum together",
        "0.500 spent, 1.000 spent or reserved of 4, 3.000 left",
        "with this study 1.465 of 4, 2.535 left",
        "li.wei (1/2)",
        "敏感",
    ):
        assert said in text


def test_what_is_dangerous_stands_out() -> None:
    review = review_of(small_study(scheme=Scheme.PLAIN), refusal="budget_exceeded", remarks=("一条 remark",))
    text = lines_of(review)
    for said in ("NOT encrypted", "未加密", "REFUSED", "不予通过", "budget_exceeded", "REMARK", "注意事项"):
        assert said in text


def test_a_key_that_all_provinces_hold_is_told_in_both_languages() -> None:
    spec = small_study(scheme=Scheme.CKKS)
    remarks = ("every province holds the key to every upload: one that gets hold of this",)
    review = review_of(spec, remarks=remarks)
    text = lines_of(review)
    for said in (
        "holds the key and can open any upload",
        "持有同一密钥",
        "取得本节点上传内容或与协调方串通",
        "or one uses the key that all hold",
        "或任一省使用共有密钥",
    ):
        assert said in text
    assert approval_document(review, study_digest(review.canonical))["leaves"]["shared_key"]


def test_exact_sums_are_called_what_they_are() -> None:
    review = review_of(small_question())
    text = lines_of(review)
    for said in ("no epsilon", "WITHOUT noise", "不加噪声", "统计汇总", "无隐私预算", "at least 1 insured"):
        assert said in text
    document = approval_document(review, study_digest(review.canonical))
    assert set(document["costs"].values()) == {None}


@pytest.mark.parametrize("least", [7, 30])
def test_how_small_a_group_may_be_shown_is_said_where_sums_are_exact(least: int) -> None:
    tables = {node: pa.table({"x": [1, 2]}) for node in ("n1", "n2", "n3", "n4")}
    section = {"time": {"column": "week", "event": "arrest", "intervals": 10}, "min_cell": least}
    text = lines_of(review_of(fitting("survival", section, tables)))
    assert f"groups of fewer than {least} persons" in text
    assert f"少于{least}人的分组" in text
    assert "分组不向" not in lines_of(review_of())


def test_the_columns_of_a_fit_and_of_a_curve_are_named_by_their_part() -> None:
    tables = {node: pa.table({"x": [1, 2]}) for node in ("n1", "n2", "n3", "n4")}
    number = {"column": "age", "low": 0, "high": 100}
    section = {
        "family": "poisson",
        "rounds": 4,
        "outcome": {"column": "visits", "high": 50},
        "exposure": {"column": "months", "low": 1, "high": 12},
        "terms": [number],
    }
    time = {"column": "week", "event": "arrest", "intervals": 10}
    curves = {"time": time, "by": {"column": "sex", "levels": ["1", "2"]}}
    told = {}
    for kind, asked in (("regression", section), ("survival", curves)):
        spec = fitting(kind, asked, tables, scheme="threshold")
        document = approval_document(review_of(spec), study_digest(canonical_bytes(spec)))
        told |= {column["name"]: column["role"] for column in document["computes"]["columns"]}
    roles = {"visits": "outcome", "months": "exposure", "age": "term"}
    assert told == {**roles, "week": "time", "arrest": "event", "sex": "group"}


def test_the_feature_set_that_makes_the_columns_is_named() -> None:
    text = lines_of(review_of(small_study(data__feature_set="person_year@" + "ab" * 32)))
    assert text.count("person_year@" + "ab" * 8) == 2
    assert "feature set" not in lines_of(review_of())


def test_the_columns_line_up() -> None:
    text = lines_of(review_of()).split("\n")
    table = [line for line in text if line.startswith(" " * 11) and ("数值" in line or "结局" in line)]
    assert len({width_of(line[: line.index("数值" if "数值" in line else "结局")]) for line in table}) == 1


def test_a_custodian_that_shows_another_study_is_found_out() -> None:
    other = study_digest(canonical_bytes(small_study(training__learning_rate=0.5)))
    with pytest.raises(DigestMismatch, match="another study"):
        approval_document(review_of(), other)


def test_every_purpose_and_kind_of_study_has_a_chinese_name() -> None:
    assert set(PURPOSES_ZH) == set(PURPOSES)
    assert {kind.value for kind in StudyKind} <= set(MODELS_ZH)


def test_canaries_are_named_in_both_languages() -> None:
    text = lines_of(review_of(small_study(audit__canaries=400)))
    assert "AUDIT      400 of the values belong to made-up persons" in text
    assert "其中400个数值属于虚构人员" in text
    assert "made-up" not in lines_of(review_of())
