from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping
from typing import Final

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.data.nhsa.schema import Grade
from fedmed.errors import BudgetExceeded, CohortTooSmall, ConfigError, FedMedError, StudyExpired, StudyRefused
from fedmed.governance.operators import Operators
from fedmed.governance.policy import AutoApprove, Decision, Policy, column_refusal, decide
from fedmed.study import StudySpec, study_from_document
from fedmed.types import Allowance, Mode, Scheme
from tests.examples import at_most
from tests.small_regression import fitting

TODAY = datetime.date(2026, 5, 1)
POLICY = Policy(max_epsilon_per_study=2.0, max_epsilon_per_year=4.0)


def study(**aggregation: object) -> StudySpec:
    return study_with(aggregation=aggregation)


def study_with(**sections: dict[str, object]) -> StudySpec:
    tables: dict[str, dict[str, object]] = {
        "study": {
            "id": "s",
            "title": "t",
            "purpose": "healthcare",
            "owner": "o",
            "expires": "2026-12-31",
        },
        "data": {
            "dataset": "person_year",
            "label": {"column": "y"},
            "features": [{"name": "age", "kind": "number", "high": 100}],
            "declared_persons": {"a": 500, "b": 500, "c": 500, "d": 500},
        },
        "privacy": {"epsilon": 1.0, "clip_norm": 4.0},
    }
    for name, values in sections.items():
        tables[name] = {**tables.get(name, {}), **values}
    return study_from_document(tables)


def judge(spec: StudySpec, policy: Policy = POLICY, *, persons: int = 500) -> Decision:
    return decide(spec, policy, declared_persons=persons, today=TODAY)


def test_an_allowed_study_waits_for_the_operator_unless_the_policy_approves() -> None:
    assert judge(study()) == Decision(waits_for_operator=True, remarks=())
    approving = dataclasses.replace(POLICY, auto_approve=True)
    assert not judge(study(), approving).waits_for_operator


@pytest.mark.parametrize(
    ("spec", "policy", "persons", "error", "rule"),
    [
        (study_with(study={"expires": "2026-04-30"}), {}, 500, StudyExpired, "expires"),
        (study(), {"purposes": frozenset({"supervision"})}, 500, StudyRefused, "purposes"),
        (study(), {"modes": frozenset()}, 500, StudyRefused, "modes"),
        (study(scheme="plain"), {"research": True}, 500, StudyRefused, "schemes"),
        (study(scheme="plain"), {"schemes": frozenset(Scheme)}, 500, StudyRefused, "research"),
        (study(on_dropout="continue"), {}, 500, StudyRefused, "allow_continue"),
        (study(), {}, 99, CohortTooSmall, "min_cohort"),
        (study_with(data={"min_cohort": 501}), {}, 500, CohortTooSmall, "min_cohort"),
        (study(), {"min_cohort": 501}, 500, CohortTooSmall, "min_cohort"),
        (study_with(privacy={"epsilon": 2.1}), {}, 500, StudyRefused, "max_epsilon_per_study"),
        (study_with(privacy={"epsilon": 4.1}), {}, 500, BudgetExceeded, "max_epsilon_per_year"),
        (study(), {"min_contributors": 4}, 500, StudyRefused, "min_contributors"),
        (study(dropouts=0), {"min_dropouts": 1}, 500, StudyRefused, "min_dropouts"),
        (study(), {"min_dropouts": 1}, 500, StudyRefused, "min_dropouts"),
        (study(colluders=0), {"min_colluders": 1}, 500, StudyRefused, "min_colluders"),
        (study(threshold=3), {"min_threshold": 4}, 500, StudyRefused, "min_threshold"),
        (study(), {"min_threshold": 3}, 500, StudyRefused, "min_threshold"),
        (study(), {"models": frozenset({"mlp"})}, 500, StudyRefused, "models"),
        (study(), {"denied_columns": frozenset({"age"})}, 500, StudyRefused, "denied_columns"),
        (study(), {"denied_columns": frozenset({"y"})}, 500, StudyRefused, "denied_columns"),
        (study(), {"grades": frozenset(Grade)}, 500, StudyRefused, "grades"),
        (study(), {"expires": datetime.date(2026, 4, 30)}, 500, StudyRefused, "policy expires"),
    ],
)
def test_a_refusal_starts_with_its_rule(
    spec: StudySpec, policy: dict[str, object], persons: int, error: type[FedMedError], rule: str
) -> None:
    changed = dataclasses.replace(POLICY, **policy)  # type: ignore[arg-type]
    with pytest.raises(FedMedError) as caught:
        judge(spec, changed, persons=persons)
    assert type(caught.value) is error
    assert str(caught.value).startswith(f"{rule}:")
    # Without the rule the very same study is allowed: nothing else refused it.
    loose = Policy(
        max_epsilon_per_study=100,
        max_epsilon_per_year=100,
        schemes=frozenset(Scheme),
        modes=frozenset(Mode),
        min_cohort=1,
        allow_continue=True,
        research=True,
    )
    if error not in (StudyExpired, CohortTooSmall):
        assert judge(spec, loose).waits_for_operator


AGE = {"column": "age", "low": 0, "high": 100}
TIME = {"column": "month", "event": "died", "intervals": 12}
EXACT: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "poisson": ("regression", {"family": "poisson", "outcome": {"column": "v", "high": 9}, "terms": [AGE]}),
    "cox": ("regression", {"family": "cox", "time": TIME, "terms": [AGE]}),
    "survival": ("survival", {"time": TIME}),
}


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize(("own", "least"), [(None, 12), (5, 11), (10, 11)])
def test_a_policy_raises_the_fewest_persons_of_fits_and_curves(
    name: str, own: int | None, least: int
) -> None:
    """As it does for statistics, whose test is beside the differencing guard's; who says nothing has 11."""
    kind, section = EXACT[name]
    tables = {node: pa.table({"x": [0] * 500}) for node in "abcd"}
    policy = dataclasses.replace(
        POLICY, modes=frozenset(Mode), exact_statistics=True, research=True, schemes=frozenset(Scheme)
    )
    few = fitting(kind, section if own is None else {**section, "min_cell": own}, tables)
    with pytest.raises(
        StudyRefused, match=rf"^min_cell: .* {least} are the fewest here; raise {kind}.min_cell$"
    ):
        judge(few, dataclasses.replace(policy, min_cell=least))
    assert judge(few, dataclasses.replace(policy, min_cell=own or 11)).waits_for_operator
    assert judge(
        fitting(kind, {**section, "min_cell": least}, tables), dataclasses.replace(policy, min_cell=least)
    )


def test_a_study_runs_on_its_own_and_the_policys_last_day() -> None:
    last = dataclasses.replace(POLICY, expires=TODAY)
    assert judge(study_with(study={"expires": "2026-05-01"}), last)


GRADES = {"age": Grade.SENSITIVE, "y": Grade.INTERNAL}
GRADED = dataclasses.replace(POLICY, grades=frozenset({Grade.INTERNAL, Grade.SENSITIVE}))


def test_columns_are_allowed_by_grade_and_the_pseudonym_needs_none() -> None:
    assert decide(study(), GRADED, declared_persons=500, today=TODAY, grades=GRADES)
    restricted = {**GRADES, "age": Grade.RESTRICTED}
    with pytest.raises(StudyRefused, match=r"grades: age \(restricted\)"):
        decide(study(), GRADED, declared_persons=500, today=TODAY, grades=restricted)


def test_a_column_without_a_grade_is_refused_unless_the_policy_says_otherwise() -> None:
    known = {"y": Grade.INTERNAL}
    with pytest.raises(StudyRefused, match="grades: age carry no grade"):
        decide(study(), GRADED, declared_persons=500, today=TODAY, grades=known)
    trusting = dataclasses.replace(GRADED, allow_ungraded=True)
    assert decide(study(), trusting, declared_persons=500, today=TODAY, grades=known)
    assert decide(study(), POLICY, declared_persons=500, today=TODAY, grades=known)


@pytest.mark.parametrize(
    ("rules", "waits"),
    [
        ({}, False),
        ({"max_epsilon": 0.9}, True),
        ({"purposes": frozenset({"healthcare"})}, False),
        ({"purposes": frozenset({"security"})}, True),
        ({"owners": frozenset({"o"})}, False),
        ({"owners": frozenset()}, True),
        ({"modes": frozenset({Mode.AGGREGATE})}, False),
        ({"modes": frozenset()}, True),
    ],
)
def test_rules_approve_only_what_meets_all_of_them(rules: dict[str, object], waits: bool) -> None:
    rule = AutoApprove(**{"max_epsilon": 1.0, **rules})  # type: ignore[arg-type]
    assert judge(study(), dataclasses.replace(POLICY, auto_approve=rule)).waits_for_operator is waits


def test_a_policys_digest_stands_for_every_rule_and_for_no_order() -> None:
    """Each changed rule gives another digest."""
    changes: list[dict[str, object]] = [
        {},
        {"max_epsilon_per_year": 5.0},
        {"grades": frozenset({Grade.PUBLIC})},
        {"grades": frozenset()},
        {"models": frozenset({"logistic"})},
        {"denied_columns": frozenset({"age"})},
        {"auto_approve": True},
        {"auto_approve": AutoApprove(max_epsilon=1.0)},
        {"auto_approve": AutoApprove(max_epsilon=1.0, owners=frozenset())},
        {"operators": Operators(keys={"a": bytes([7]) * 32, "b": bytes([8]) * 32}, approvals_needed=1)},
        {"operators": Operators(keys={"a": bytes([7]) * 32, "b": bytes([8]) * 32}, approvals_needed=2)},
        {"expires": TODAY},
    ]
    policies = [dataclasses.replace(POLICY, **change) for change in changes]  # type: ignore[arg-type]
    assert len({policy.digest for policy in policies}) == len(policies)
    keys = {"b": bytes([8]) * 32, "a": bytes([7]) * 32}
    turned = dataclasses.replace(POLICY, operators=Operators(keys=keys, approvals_needed=2))
    assert turned.digest == policies[10].digest
    assert dataclasses.replace(POLICY, max_epsilon_per_year=4).digest == POLICY.digest


def test_the_worked_out_allowance_answers_for_what_the_file_leaves_open() -> None:
    policy = dataclasses.replace(POLICY, min_dropouts=1, min_colluders=1)
    known = Allowance(planned_contributors=4, threshold=3, dropouts=1, colluders=1, min_contributors=3)
    assert decide(study(), policy, declared_persons=500, today=TODAY, allowance=known)
    lowered = dataclasses.replace(known, colluders=0)
    with pytest.raises(StudyRefused, match="min_colluders"):
        decide(study(), policy, declared_persons=500, today=TODAY, allowance=lowered)


def test_plain_and_continue_are_remarked_upon() -> None:
    policy = dataclasses.replace(POLICY, schemes=frozenset(Scheme), research=True, allow_continue=True)
    spec = study_with(
        aggregation={"scheme": "plain", "on_dropout": "continue"}, privacy={"max_nodes_per_person": 2}
    )
    assert len(judge(spec, policy).remarks) == 3


def test_ckks_is_refused_by_default_and_remarked_upon_where_it_is_listed() -> None:
    spec = study(scheme="ckks")
    with pytest.raises(StudyRefused, match="schemes"):
        decide(spec, POLICY, declared_persons=500, today=TODAY)
    policy = dataclasses.replace(POLICY, schemes=frozenset({Scheme.CKKS}))
    assert any("holds the key to every upload" in remark for remark in judge(spec, policy).remarks)


@pytest.mark.parametrize(
    "change",
    [
        {"max_epsilon_per_study": 0.0},
        {"max_epsilon_per_year": float("inf")},
        {"max_epsilon_per_study": 5.0},
        {"purposes": frozenset({"fun"})},
        {"min_cohort": 0},
        {"min_contributors": 2},
        {"allow_ungraded": True},
    ],
)
def test_a_policy_checks_itself(change: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        dataclasses.replace(POLICY, **change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "rules", [{"max_epsilon": 0.0}, {"max_epsilon": 1.0, "purposes": frozenset({"fun"})}]
)
def test_a_rule_of_approval_checks_itself(rules: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="auto_approve"):
        AutoApprove(**rules)  # type: ignore[arg-type]


@settings(deadline=None, max_examples=at_most(50))
@given(epsilon=st.floats(0.01, 100), persons=st.integers(1, 1000))
def test_what_a_policy_allows_a_looser_one_allows(epsilon: float, persons: int) -> None:
    spec = study_with(privacy={"epsilon": epsilon})
    loose = dataclasses.replace(POLICY, max_epsilon_per_study=100, max_epsilon_per_year=100, min_cohort=1)
    try:
        judge(spec, persons=persons)
    except FedMedError:
        return
    assert judge(spec, loose, persons=persons)


def test_a_study_that_allows_for_no_colluder_is_remarked_on() -> None:
    spec = study()
    bare = spec.model_copy(update={"aggregation": spec.aggregation.model_copy(update={"colluders": 0})})
    (remark,) = judge(bare).remarks
    assert "colluder" in remark
    assert judge(spec).remarks == ()


@pytest.mark.parametrize("grade", [None, Grade.PUBLIC, Grade.SENSITIVE])
@pytest.mark.parametrize("allowed", [None, frozenset({Grade.PUBLIC})])
@pytest.mark.parametrize("ungraded", [False, True])
@pytest.mark.parametrize("denied", [frozenset(), frozenset({"age"})])
def test_a_study_is_refused_exactly_where_the_columns_refusal_says_why(
    grade: Grade | None, allowed: frozenset[Grade] | None, ungraded: bool, denied: frozenset[str]
) -> None:
    ungraded = ungraded and allowed is not None
    policy = dataclasses.replace(POLICY, grades=allowed, allow_ungraded=ungraded, denied_columns=denied)
    grades = {"y": Grade.PUBLIC} | ({} if grade is None else {"age": grade})
    refusal = column_refusal("age", policy, grades)
    try:
        decide(study(), policy, declared_persons=500, today=TODAY, grades=grades)
    except StudyRefused:
        assert refusal
    else:
        assert not refusal
