"""The privacy statement, who can see what, and the limits."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fedmed.report.guarantee import limits, privacy_facts, privacy_statement, sight_table
from fedmed.report.result import Result

Make = Callable[..., Result]


def sights(result: Result) -> dict[str, dict[str, str]]:
    """Verdicts by thing and audience."""
    table = sight_table(result)
    return {
        thing: dict(zip(table.audiences, (one.verdict for one in cells), strict=True))
        for thing, cells in table.rows
    }


def test_the_statement_holds_every_figure_of_the_guarantee(make_result: Make) -> None:
    said = " ".join(privacy_statement(make_result()))
    for figure in (
        "0.98",
        "1.00",
        "1.3\u00a0×\u00a010⁻⁶",
        "k = 1",
        "1 dropout",
        "1 colluder",
        "1.44",
        "factor of 2.6",
    ):
        assert figure in said
    assert "one insured person" in said


def test_the_facts_hold_the_rdp_figure_only_when_it_is_known(make_result: Make) -> None:
    names = {fact.name: fact.value for fact in privacy_facts(make_result())}
    assert names["Epsilon by RDP"] == "1.05"
    assert names["Fallback epsilon"] == "1.44"
    without = make_result(lambda d: d["privacy"].pop("epsilon_rdp"))
    assert "Epsilon by RDP" not in {fact.name for fact in privacy_facts(without)}


def test_several_homes_are_explained(make_result: Make) -> None:
    result = make_result(lambda d: d["privacy"].update(max_nodes_per_person=2))
    assert any("up to 2 provinces (homes k = 2)" in sentence for sentence in privacy_statement(result))


def test_a_huge_epsilon_is_not_dressed_up_as_a_factor(make_result: Make) -> None:
    result = make_result(lambda d: d["privacy"].update(epsilon=60.0, epsilon_spent=60.0))
    assert "too large to mean much" in privacy_statement(result)[0]


def test_under_threshold_neither_coordinator_nor_tolerated_colluders_open_an_upload(
    make_result: Make,
) -> None:
    upload = sights(make_result())["One province's upload, opened"]
    assert upload["Coordinator"] == "no"
    assert upload["Coordinator with 1 province"] == "no"
    assert upload["3 provinces together"] == "exposed"


def test_under_plain_the_coordinator_reads_every_upload(make_result: Make) -> None:
    result = make_result(lambda d: d["aggregation"].update(scheme="plain", threshold=0))
    assert sights(result)["One province's upload"]["Coordinator"] == "exposed"
    assert set(sights(result)["Key shares"].values()) == {"no"}


def test_under_ckks_every_province_can_open_any_upload_and_every_page_says_so(make_result: Make) -> None:
    result = make_result(lambda d: d["aggregation"].update(scheme="ckks"))
    upload = sights(result)["One province's upload, opened"]
    assert upload["Coordinator"] == upload["Reader of the model"] == "no"
    assert upload["Coordinator with any one province"] == upload["Any other province"] == "exposed"
    assert sights(result)["The key"]["Any other province"] == "exposed"
    assert "holds the one key" in " ".join(limits(result))
    assert "the key that all hold" in " ".join(privacy_statement(result))
    assert "the key that all hold" not in " ".join(privacy_statement(make_result()))
    (fallback,) = (fact for fact in privacy_facts(result) if fact.name == "Fallback epsilon")
    assert fallback.meaning == "if all other provinces collude, or one province uses the key that all hold"
    assert "no outside cryptographer" in " ".join(limits(result))


@pytest.mark.parametrize("scheme", ["threshold", "ckks", "plain"])
@pytest.mark.parametrize("colluders", [0, 1, 2])
def test_no_audience_but_the_province_sees_its_rows(make_result: Make, scheme: str, colluders: int) -> None:
    def change(document: dict[str, dict[str, object]]) -> None:
        document["aggregation"]["scheme"] = scheme
        document["privacy"]["colluders"] = colluders

    table = sight_table(make_result(change))
    assert all(len(cells) == len(table.audiences) for _, cells in table.rows)
    rows = sights(make_result(change))["Rows of insured persons"]
    assert [verdict for verdict in rows.values() if verdict == "yes"] == ["yes"]
    assert rows["The province itself"] == "yes"


def test_limits_name_what_this_run_was(make_result: Make) -> None:
    simulated = " ".join(limits(make_result()))
    assert "synthetic" in simulated
    assert "simulation" in simulated
    assert "no outside cryptographer" in simulated

    def change(document: dict[str, object]) -> None:
        document["simulation"] = False
        document.pop("data")

    deployed = " ".join(limits(make_result(change)))
    assert "synthetic" not in deployed
    assert "simulation" not in deployed
