"""The model card."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from fedmed.report import model_card
from fedmed.report.result import Result

Make = Callable[..., Result]
LAYOUT = "weights (430,)\nbias (1,)"


def test_the_card_holds_use_model_scores_privacy_and_limits(make_result: Make) -> None:
    card = model_card(make_result(), LAYOUT)
    for heading in ("## Use", "## Model", "## Scores", "## Privacy", "## Limits", "## Versions"):
        assert f"\n{heading}\n" in card
    for words in (LAYOUT, "上海 Shanghai", "0.811", "Fallback epsilon", "4f0c2a9d" * 8, "worth +0.032 AUC"):
        assert words in card
    assert "## What went wrong" not in card
    assert card.endswith("\n")


def test_the_card_is_the_same_every_time(make_result: Make) -> None:
    assert model_card(make_result(), LAYOUT) == model_card(make_result(), LAYOUT)


def test_every_table_row_has_as_many_cells_as_its_head(make_result: Make) -> None:
    card = model_card(make_result(lambda d: d["study"].update(owner="a | b")), LAYOUT)
    for block in re.findall(r"(?:^\|.*\n)+", card, flags=re.MULTILINE):
        widths = {len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}
        assert len(widths) == 1


def test_texts_cannot_add_markup(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        document["study"]["title"] = "# <script>x</script>\n# [a](b) `c`"
        document["versions"] = {"**evil**": "1"}

    card = model_card(make_result(change), "```\n# not a heading\n```")
    assert card.splitlines()[0] == r"# \# &lt;script&gt;x&lt;/script&gt; \# \[a\](b) \`c\`"
    assert r"\*\*evil\*\*" in card
    assert "````text\n```\n# not a heading\n```\n````" in card


def test_a_card_of_a_deployment_names_only_what_is_known(make_result: Make) -> None:
    def change(document: dict[str, Any]) -> None:
        document["simulation"] = False
        document["arms"] = {"federated": {"auc": 0.8}}
        document["versions"] = {}

    card = model_card(make_result(change), LAYOUT)
    assert "a deployment" in card
    assert "None" not in card
    assert "Pooled" not in card


def test_a_card_without_scores_says_why(unscored: Result) -> None:
    card = model_card(unscored, LAYOUT)
    assert "## Scores\n\nNo scores are in this result" in card
    assert "AUC" not in card
