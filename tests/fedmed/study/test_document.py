from __future__ import annotations

import datetime
import json
import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.errors import ConfigError
from fedmed.study import (
    PURPOSES,
    StudySpec,
    canonical_bytes,
    from_canonical_bytes,
    load_study,
    study_digest,
    study_from_document,
    to_toml,
    training_share,
)
from fedmed.types import FeatureKind, Mode, OnDropout, Scheme

TEXT = """
[study]
id = "high-cost"
title = "High cost next year 高费用"
purpose = "insurance_finance"
owner = "Data bureau"
expires = 2030-12-31

[data]
dataset = "person_year"
label = { column = "next_year_cost", at_least = 20000 }
features = [
  { name = "age", kind = "number", low = 0, high = 100 },
  { name = "insutype", kind = "category", categories = ["310", "390"] },
  { name = "codes", kind = "codes", vocabulary_size = 400 },
]

[data.declared_persons]
shanghai = 13400
jiangsu = 26600
zhejiang = 20000
anhui = 20000

[privacy]
epsilon = 1
clip_norm = 4
"""


def document(**changes: object) -> dict[str, object]:
    """The study above as tables; ``section__key=value`` replaces one key."""
    tables: dict[str, dict[str, object]] = tomllib.loads(TEXT)
    for name, value in changes.items():
        section, key = name.split("__")
        tables.setdefault(section, {})[key] = value
    return dict(tables)


def refusal(tables: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        study_from_document(tables)
    return str(caught.value)


def test_a_short_file_gets_every_default() -> None:
    spec = load_study(TEXT)
    assert (spec.id, spec.purpose, spec.expires) == (
        "high-cost",
        "insurance_finance",
        datetime.date(2030, 12, 31),
    )
    assert spec.data.person == "psn_no"
    assert (spec.data.held_out, spec.data.min_cohort) == (0.3, 100)
    assert (spec.model.kind, spec.model.hidden) == ("logistic", ())
    assert (spec.privacy.mode, spec.privacy.max_nodes_per_person) == (Mode.AGGREGATE, 1)
    assert (spec.aggregation.scheme, spec.aggregation.on_dropout) == (Scheme.THRESHOLD, OnDropout.STOP)
    assert spec.aggregation.threshold is None
    assert (spec.training.aggregations, spec.training.spare_attempts) == (40, 2)
    assert (spec.training.learning_rate, spec.training.momentum) == (1.0, 0.9)
    assert spec.training.rows_of_a_person == "mean"


def test_defaults_that_follow_from_the_counts_are_written_into_the_study() -> None:
    spec = load_study(TEXT)
    assert spec.total_training_persons == 56_000
    assert spec.privacy.delta == 1 / 560_000
    assert spec.aggregation.clamp_persons == spec.training_persons("jiangsu") == 18_620
    few = study_from_document(document(data__declared_persons={"a": 150, "b": 150, "c": 150}))
    assert few.privacy.delta == 1e-5


def test_more_than_eight_nodes_plan_four_spare_attempts() -> None:
    many = study_from_document(document(data__declared_persons={f"n{i}": 500 for i in range(9)}))
    assert many.training.spare_attempts == 4


def test_the_dataset_keeps_the_order_of_the_columns() -> None:
    dataset = load_study(TEXT).dataset_spec
    assert [f.name for f in dataset.features] == ["age", "insutype", "codes"]
    assert dataset.features[2].kind is FeatureKind.CODES
    assert dataset.inputs == 403
    assert dataset.label.at_least == 20_000


def test_training_persons_use_exact_decimals() -> None:
    assert training_share(90, 0.3) == 63  # binary floats would give 62
    assert training_share(13_400, 0.3) == 9_380


def test_a_foreign_node_has_no_training_persons() -> None:
    with pytest.raises(ConfigError, match="beijing"):
        load_study(TEXT).training_persons("beijing")


def test_an_unknown_key_names_the_nearest_right_one() -> None:
    text = refusal(document(privacy__epsilonn=2.0))
    assert "privacy.epsilonn: unknown key; did you mean epsilon?" in text
    feature = {"name": "age", "kind": "number", "hihg": 3}
    assert "data.features[1].hihg: unknown key; did you mean high?" in refusal(
        document(data__features=[feature])
    )
    assert "trainig: unknown key; did you mean training?" in refusal(document(trainig__momentum=0.5))


def test_a_key_like_no_other_lists_the_right_ones() -> None:
    assert "the keys here are kind, hidden" in refusal(document(model__zzz=1))


def test_all_faults_come_in_one_error() -> None:
    tables = document(
        study__purpose="fun", privacy__epsilon=0, training__momentum=1, data__min_cohort=0, model__kind="mlp"
    )
    text = refusal(tables)
    for place in (
        "study.purpose",
        "privacy.epsilon",
        "training.momentum",
        "data.min_cohort",
        "model: hidden",
    ):
        assert place in text
    assert text.startswith("the study file has 5 fault(s)")


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"privacy__epsilon": float("nan")}, "privacy.epsilon: must be finite"),
        ({"privacy__epsilon": float("inf")}, "privacy.epsilon"),
        ({"privacy__epsilon": 101}, "privacy.epsilon: must be <= 100"),
        ({"privacy__epsilon": "1"}, "privacy.epsilon: must be a number, got '1'"),
        ({"privacy__epsilon": True}, "privacy.epsilon: must be a number"),
        ({"privacy__delta": 0}, "privacy.delta: must be > 0"),
        ({"privacy__delta": 0.9}, "privacy.delta must be at most 1.79e-06 for 56000 protected persons"),
        ({"privacy__delta": 1}, "privacy.delta: must be < 1"),
        ({"privacy__clip_norm": -1}, "privacy.clip_norm: must be > 0"),
        ({"privacy__clip_norm": float("inf")}, "privacy.clip_norm"),
        ({"privacy__mode": "silo"}, "privacy.mode: must be one of 'aggregate'"),
        ({"privacy__unit": "row"}, "privacy.unit"),
        ({"privacy__max_nodes_per_person": 5}, "at most the 4 declared nodes"),
        ({"study__id": "High Cost"}, "study.id: must be 1 to 64 of a-z"),
        ({"study__title": "two\nlines"}, "study.title: must be one line"),
        ({"study__expires": "soon"}, "study.expires: must be a date"),
        ({"study__expires": 20301231}, "study.expires: must be a date"),
        ({"data__held_out": 1}, "data.held_out: must be < 1"),
        ({"data__held_out": float("nan")}, "data.held_out: must be finite"),
        ({"data__features": []}, "data.features: must be at least 1 long"),
        ({"data__features": 3}, "data.features: must be a list"),
        ({"data__declared_persons": {"a": 1, "b": 2}}, "needs 3 to 400 nodes, got 2"),
        ({"data__declared_persons": {f"n{i}": 9 for i in range(401)}}, "needs 3 to 400 nodes, got 401"),
        ({"data__declared_persons": {"A B": 1, "b": 2, "c": 3}}, "1 to 64 of a-z"),
        (
            {"data__declared_persons": {"a": 1.5, "b": 2, "c": 3}},
            "declared_persons.a: must be a whole number",
        ),
        ({"data__declared_persons": {"a": 0, "b": 2, "c": 3}}, "declared_persons.a: must be >= 1"),
        ({"data__person": "age"}, "the person column age must not be a feature"),
        ({"data__label": {"column": "age"}}, "the label column age must not be a feature"),
        ({"data__label": "age"}, "data.label: must be a table"),
        ({"model__hidden": [8]}, "hidden must be empty for logistic"),
        ({"aggregation__scheme": "bgv"}, "aggregation.scheme: must be one of 'threshold', 'ckks' or 'plain'"),
        ({"aggregation__threshold": 5}, "aggregation.threshold must be at most the 4 declared nodes"),
        ({"training__aggregations": 1.5}, "training.aggregations: must be a whole number"),
        ({"training__rows_of_a_person": "max"}, "training.rows_of_a_person"),
        ({"report__metrics": ["f1"]}, "report.metrics[1]"),
    ],
)
def test_a_fault_is_named_with_its_place_and_bound(change: dict[str, object], fault: str) -> None:
    text = refusal(document(**change))
    assert fault in text
    assert "pydantic" not in text
    assert "fault(s):" in text


@pytest.mark.parametrize(
    ("feature", "fault"),
    [
        ({"name": "x", "kind": "number", "low": 2, "high": 1}, "low must be < high"),
        ({"name": "x", "kind": "category"}, "categories"),
        ({"name": "x", "kind": "codes"}, "vocabulary_size"),
        ({"name": "x", "kind": "text"}, "must be one of 'number', 'category' or 'codes'"),
    ],
)
def test_a_bad_feature_is_a_fault_of_its_entry(feature: dict[str, object], fault: str) -> None:
    text = refusal(document(data__features=[{"name": "age", "kind": "number"}, feature]))
    assert "data.features[2]" in text
    assert fault in text


def test_codes_come_last() -> None:
    features = list(document()["data"]["features"])  # type: ignore[index]
    assert "codes features come last" in refusal(document(data__features=features[::-1]))


def test_a_missing_section_is_named() -> None:
    tables = document()
    del tables["privacy"]
    assert "privacy: is missing" in refusal(tables)


def test_text_that_is_not_toml_is_refused() -> None:
    with pytest.raises(ConfigError, match="not TOML"):
        load_study("[study\n")


def test_a_study_is_frozen() -> None:
    spec = load_study(TEXT)
    with pytest.raises(ValueError):
        spec.privacy.epsilon = 2.0  # type: ignore[misc]


@st.composite
def studies(draw: st.DrawFn) -> StudySpec:
    names = draw(
        st.lists(
            st.from_regex(r"[a-z0-9][a-z0-9_-]{0,8}", fullmatch=True), min_size=3, max_size=12, unique=True
        )
    )
    hidden = draw(st.lists(st.integers(1, 4096), max_size=2))
    low, span = draw(st.floats(-1e6, 1e6)), draw(st.floats(1e-3, 1e6))
    return study_from_document(
        document(
            study__title=draw(
                st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1)
            ),
            study__purpose=draw(st.sampled_from(PURPOSES)),
            study__expires=draw(st.dates()),
            data__declared_persons={name: draw(st.integers(1, 10**7)) for name in names},
            data__held_out=draw(st.floats(0, 0.99)),
            data__features=[{"name": "x", "kind": "number", "low": low, "high": low + span}],
            model__kind="mlp" if hidden else "logistic",
            model__hidden=hidden,
            privacy__epsilon=draw(st.floats(0, 100, exclude_min=True)),
            aggregation__scheme=draw(st.sampled_from(["threshold", "plain"])),
            training__momentum=draw(st.floats(0, 1, exclude_max=True)),
        )
    )


@pytest.mark.slow
@settings(deadline=None, max_examples=25)
@given(spec=studies())
def test_toml_and_canonical_bytes_give_the_study_back(spec: StudySpec) -> None:
    assert load_study(to_toml(spec)) == spec
    data = canonical_bytes(spec)
    again = from_canonical_bytes(data)
    assert again == spec
    assert again.nodes == spec.nodes
    assert canonical_bytes(again) == data


def test_the_order_of_nodes_is_part_of_the_digest() -> None:
    one = study_from_document(document(data__declared_persons={"a": 500, "b": 500, "c": 500}))
    two = study_from_document(document(data__declared_persons={"b": 500, "a": 500, "c": 500}))
    assert one.nodes != two.nodes
    assert study_digest(canonical_bytes(one)) != study_digest(canonical_bytes(two))


def test_whitespace_comments_and_written_defaults_do_not_change_the_digest() -> None:
    plain = canonical_bytes(load_study(TEXT))
    spelled = TEXT.replace("epsilon = 1", "epsilon = 1.0  # agreed\n\nmax_nodes_per_person = 1")
    assert canonical_bytes(load_study(spelled)) == plain
    assert len(study_digest(plain)) == 32


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data.replace(b":", b": ", 1),
        lambda data: data.replace(b'"epsilon":1.0', b'"epsilon":1'),
        lambda data: data + b"\n",
        lambda data: data.replace(b'"version":1', b'"version":2'),
        lambda data: data.replace(b'["jiangsu",26600]', b'["jiangsu",1],["jiangsu",26600]'),
        lambda data: data.replace(b'"dataset":', b'"person":"psn_no","dataset":'),
        lambda data: json.dumps(json.loads(data)).encode(),
        lambda data: data[:-1],
        lambda data: b"[]",
        lambda data: b"\xff",
        lambda data: b"[" * 100_000,
        lambda data: b'{"version":1,"data":{"declared_persons":3}}',
    ],
)
def test_bytes_in_another_form_are_refused(spoil) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError):
        from_canonical_bytes(spoil(canonical_bytes(load_study(TEXT))))


def test_delta_is_at_most_a_tenth_of_a_person_and_one_in_a_thousand() -> None:
    allowed = study_from_document(document(privacy__delta=1 / 560_000))
    assert allowed.privacy.delta == 1 / 560_000
    few = {"data__declared_persons": {"a": 10, "b": 10, "c": 10}}
    assert study_from_document(document(privacy__delta=1e-3, **few)).privacy.delta == 1e-3
    assert "privacy.delta must be at most 0.001" in refusal(document(privacy__delta=1.1e-3, **few))
