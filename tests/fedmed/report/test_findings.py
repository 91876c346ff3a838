"""What the report says the reader may conclude."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from fedmed.report.findings import NOT_SCORED, NOTICEABLE_AUC, findings, site_noun, went_wrong
from fedmed.report.result import Result
from fedmed.report.units import metric, metric_gap
from tests.examples import at_most

Make = Callable[..., Result]
OTHER_ARMS = ("central", "alone_private", "alone", "pooled")
SUBSETS = [one for size in range(5) for one in combinations(OTHER_ARMS, size)]


def with_means(**means: float) -> Callable[[dict[str, Any]], None]:
    """Change the mean AUC of arms."""

    def change(document: dict[str, Any]) -> None:
        for name, auc in means.items():
            document["arms"][name]["auc"] = auc

    return change


def keep(*names: str) -> Callable[[dict[str, Any]], None]:
    """Leave only these arms beside federated."""

    def change(document: dict[str, Any]) -> None:
        document["arms"] = {k: v for k, v in document["arms"].items() if k == "federated" or k in names}

    return change


def test_a_gain_and_its_price_are_told_with_their_figures(make_result: Make) -> None:
    worth, price = findings(make_result()).conclusions
    assert "worth +0.032 AUC" in worth
    assert "0.811 against 0.779" in worth
    assert "costs 0.001 AUC" in price
    assert "without any privacy 0.828" in price


@settings(deadline=None, max_examples=at_most(60))
@given(fed=st.floats(0.5, 0.95), alone=st.floats(0.5, 0.95))
def test_no_gain_below_the_noticeable_one_is_called_worth_something(
    make_result: Make, fed: float, alone: float
) -> None:
    result = make_result(with_means(federated=fed, alone_private=alone))
    found = findings(result)
    claims = "is worth" in found.conclusions[0]
    assert claims == (metric_gap(fed, alone) >= NOTICEABLE_AUC)
    assert claims != any("does not beat" in warning for warning in found.warnings)
    assert metric(fed) in found.headline


@pytest.mark.parametrize("arms", SUBSETS, ids=lambda names: "+".join(names) or "none")
def test_no_sentence_speaks_of_an_arm_that_is_absent(make_result: Make, arms: tuple[str, ...]) -> None:
    result = make_result(keep(*arms))
    found = findings(result)
    said = " ".join([found.headline, *found.conclusions, found.anchor, *found.warnings])
    means = {"central": "0.812", "alone_private": "0.779", "alone": "0.818", "pooled": "0.828"}
    for name, figure in means.items():
        assert (figure in said) == (name in arms), name
    assert "None" not in said


def test_worse_than_alone_is_said_plainly(make_result: Make) -> None:
    found = findings(make_result(with_means(federated=0.77)))
    assert "did worse" in found.conclusions[0]
    assert "−0.009 against" in found.headline


def test_better_than_central_is_called_luck(make_result: Make) -> None:
    assert "luck" in findings(make_result(with_means(federated=0.815))).conclusions[1]


def test_no_difference_to_central_is_no_cost(make_result: Make) -> None:
    price = findings(make_result(with_means(federated=0.812, central=0.8121))).conclusions[1]
    assert "costs nothing in the third digit" in price


def test_a_starved_comparison_is_warned_about(make_result: Make) -> None:
    starved = make_result(with_means(federated=0.63, central=0.631, alone_private=0.6))
    assert any("starve" in warning for warning in findings(starved).warnings)
    assert not any("starve" in warning for warning in findings(make_result()).warnings)


def test_nodes_that_are_better_off_alone_are_named(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        document["arms"]["alone_private"]["per_node"]["jiangsu"]["auc"] = 0.9

    (said,) = (w for w in findings(make_result(change)).warnings if "Better off alone" in w)
    assert "江苏 Jiangsu (0.900 against 0.817)" in said
    assert "Shanghai" not in said


def test_a_long_list_of_nodes_is_cut(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        for score in document["arms"]["federated"]["per_node"].values():
            score["auc"] = 0.6

    result = make_result(change, nodes=31)
    (said,) = (w for w in findings(result).warnings if "Better off alone" in w)
    assert said.endswith("and 25 more.")


def test_bad_calibration_is_named_with_its_place(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        document["arms"]["federated"]["per_node"]["anhui"]["expected_over_observed"] = 1.9

    assert any("安徽 Anhui (1.90)" in w for w in findings(make_result(change)).warnings)
    assert not any("Recalibrate" in w for w in findings(make_result()).warnings)


def test_spending_more_than_planned_is_warned_about(make_result: Make) -> None:
    result = make_result(lambda d: d["privacy"].update(epsilon_spent=1.3))
    assert any("1.30 instead of 1.00" in w for w in findings(result).warnings)


def test_a_delta_above_one_over_the_persons_is_warned_about(make_result: Make) -> None:
    result = make_result(lambda d: d["privacy"].update(delta=1e-3))
    assert any("Delta exceeds" in w for w in findings(result).warnings)


def test_a_plain_run_says_that_the_coordinator_could_read_everything(make_result: Make) -> None:
    result = make_result(lambda d: d["aggregation"].update(scheme="plain", threshold=0))
    assert any("not encrypted" in w and "1.44" in w for w in findings(result).warnings)


def test_a_ckks_run_says_that_every_province_holds_the_key(make_result: Make) -> None:
    result = make_result(lambda d: d["aggregation"].update(scheme="ckks"))
    assert any("holds the key to every upload" in w and "1.44" in w for w in findings(result).warnings)


def test_an_undisturbed_run_has_nothing_that_went_wrong(make_result: Make) -> None:
    assert went_wrong(make_result()) == ()


def test_lost_nodes_repeated_attempts_and_changed_sets_are_told(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        keys = [node["key"] for node in document["nodes"]]
        document["aggregation"].update(
            attempts=42,
            lost_nodes=[
                {"node": "anhui", "aggregation": 17, "phase": "open"},
                {"node": "shanghai", "aggregation": 0, "phase": "deal"},
            ],
            contributors=[keys, keys[:3]],
        )

    lost, early, repeated, changed = went_wrong(make_result(change))
    assert lost == "安徽 Anhui was lost in aggregation 17, phase open."
    assert "the ceremony" in early
    assert "2 attempts had to be repeated" in repeated
    assert "charged" in repeated
    assert "4, then 3 contributed" in changed


def test_nodes_without_chinese_names_are_not_called_provinces(make_result: Make) -> None:
    assert site_noun(make_result()) == "province"
    assert site_noun(make_result(lambda d: d["nodes"][0].pop("name_zh"))) == "node"


def test_a_deployment_without_scores_says_so_and_claims_nothing(unscored: Result) -> None:
    found = findings(unscored)
    assert found.headline == (
        "4 provinces trained one model together in 40 aggregations, for epsilon 0.98 of 1.00 planned. "
        "It was not scored."
    )
    assert found.conclusions[0] == NOT_SCORED
    assert "AUC" not in " ".join([found.headline, *found.conclusions, found.anchor, *found.warnings])
    assert any("Nobody knows yet" in warning for warning in found.warnings)


def test_other_arms_need_the_federated_one(make_result: Make) -> None:
    with pytest.raises(ValidationError, match="other arms need the arm federated"):
        make_result(lambda document: document["arms"].pop("federated"))
