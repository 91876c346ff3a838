"""A card as text."""

from __future__ import annotations

import json

import pytest

from fedmed.crypto.card import card_document, card_text, read_card
from fedmed.crypto.identity import Identity
from fedmed.errors import ConfigError


@pytest.mark.parametrize("name", ["shanghai", '上海 "二"'])
def test_a_card_is_read_as_it_was_written(name: str) -> None:
    public = Identity.create(name).public
    assert read_card(card_text(public)) == public
    assert read_card(json.dumps({"card": card_document(public)})) == public


@pytest.mark.parametrize("text", ["", "[card]\nname = 'x'", '{"card": 1}', "[card", "{}", "[]"])
def test_what_is_no_card_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="fedmed node init"):
        read_card(text)


def test_a_key_that_anybody_could_sign_with_is_refused() -> None:
    public = Identity.create("x").public
    with pytest.raises(ConfigError):
        read_card(card_text(public).replace(public.signing_key.hex(), "00" * 32))
