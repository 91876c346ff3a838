from dataclasses import replace

from fedmed.catalogue.federation import dataset_names, differences, holders, shared_columns
from fedmed.catalogue.page import federation_sheet, node_sheet
from fedmed.catalogue.text import federation_text, node_text
from fedmed.report.sheet import render_sheet
from tests.catalogues import COLUMNS, DATASET, catalogue

DENIED = (*COLUMNS[:2], replace(COLUMNS[2], refusal="denied"))


def test_equal_nodes_differ_in_nothing() -> None:
    both = (catalogue("a"), catalogue("b", declared_persons=7))
    assert differences(both) == ()
    assert shared_columns(tuple(holders(both, "person_year").values())) == ("psn_no", "age", "cost")
    assert "differences: none" in federation_text(both)
    assert "nothing differs" in render_sheet(federation_sheet(both))


def test_every_kind_of_difference_is_named() -> None:
    one = catalogue("a")
    for changed, what in (
        (catalogue("b", data_year=2023), "person_year: year"),
        (catalogue("b", feature_set=""), "person_year: feature set"),
        (catalogue("b", is_registered=False), "person_year: served"),
        (catalogue("b", refusal="quality_gate: too low"), "person_year: served"),
        (catalogue("b", own_rules=True), "person_year: scores by"),
        (catalogue("b", person="id"), "person_year: person column"),
        (catalogue("b", columns=COLUMNS[:2]), "person_year: cost"),
        (catalogue("b", columns=DENIED), "person_year: cost"),
        (replace(one, node="b", datasets=()), "person_year: dataset"),
        (replace(one, node="b", schema_version="2.0"), "schema of the tables"),
        (replace(one, node="b", rules={"purposes": ("supervision",), "modes": ("aggregate",)}), "purposes"),
    ):
        (found,) = differences((one, changed))
        assert found.what == what
        assert set(found.by_node) == {"a", "b"}


def test_a_column_that_one_node_denies_is_not_shared() -> None:
    both = (catalogue("a"), catalogue("b", columns=DENIED))
    assert shared_columns(tuple(holders(both, "person_year").values())) == ("psn_no", "age")
    page = render_sheet(federation_sheet(both, ("c",)))
    assert "may compute on 1 columns of person_year" in page
    assert "c has handed in no catalogue." in page
    assert "Cost &lt;yuan&gt;" in page
    assert dataset_names(both) == ("person_year",)


def test_a_dataset_that_a_policy_refuses_whole_is_asked_for_nothing_and_says_why() -> None:
    low = "quality_gate: validity 0.907 below the gate 0.95; mend them"
    both = (catalogue("a"), catalogue("b", refusal=low, own_rules=True))
    lines, page = node_text(both[1]), render_sheet(node_sheet(both[1]))
    assert f"not served: {low}" in lines
    assert "may be asked (0): nothing" in lines
    assert "lowest score 0.980 by own settings" in lines
    assert "validity 0.907 below the gate 0.95" in page
    assert "0 of 2" in page
    assert "quality settings of the province" in page
    assert shared_columns(tuple(holders(both, "person_year").values())) == ("psn_no",)
    federation = render_sheet(federation_sheet(both))
    assert "0 of 2 columns" in federation
    assert "validity 0.907 below the gate 0.95" in federation
    assert "own settings" in federation


def test_a_nodes_page_and_lines_say_what_may_be_asked_and_what_not() -> None:
    made = catalogue("a", columns=DENIED)
    page, lines = render_sheet(node_sheet(made)), node_text(made)
    assert "1 of 2" in page
    assert "20,000 to 50,000" in page
    assert "5 · 9 · 70" in page
    assert "may be asked (1): age" in lines
    assert "not cost: denied" in lines
    assert "5,000 persons declared" in lines
    assert DATASET.feature_set[-8:] in page.replace(" ", "")
