import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.catalogue.document import (
    SMALLEST_BAND,
    catalogue_document,
    open_catalogue,
    signed_catalogue,
    size_band,
)
from fedmed.crypto.identity import Identity, signed_bytes
from fedmed.errors import MessageMalformed, SignatureInvalid, UnknownVersion
from tests.catalogues import catalogue
from tests.examples import at_most


@pytest.fixture(scope="module")
def identity() -> Identity:
    return Identity.create("上海")


def test_a_signed_catalogue_comes_back_as_it_was(identity: Identity) -> None:
    made = catalogue("上海")
    assert open_catalogue(signed_catalogue(made, identity), identity.public) == made


def test_whatever_was_altered_or_signed_by_another_is_refused(identity: Identity) -> None:
    text = signed_catalogue(catalogue("上海"), identity)
    with pytest.raises(SignatureInvalid):
        open_catalogue(text.replace("5000", "6000"), identity.public)
    with pytest.raises(SignatureInvalid):
        open_catalogue(text, Identity.create("上海").public)
    with pytest.raises(MessageMalformed, match="no catalogue"):
        open_catalogue(signed_catalogue(catalogue("江苏"), identity), identity.public)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"content": 1, "signature": "zz"}', "[" * 5_000])
def test_what_is_no_catalogue_is_refused(text: str, identity: Identity) -> None:
    with pytest.raises(MessageMalformed, match="fedmed node catalogue"):
        open_catalogue(text, identity.public)


def test_another_format_and_a_signed_oddity_are_refused(
    identity: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedmed.catalogue.document.FORMAT", "fedmed/catalogue/9")
    text = signed_catalogue(catalogue("上海"), identity)
    monkeypatch.undo()
    with pytest.raises(UnknownVersion):
        open_catalogue(text, identity.public)
    odd = replace(catalogue("上海"), datasets=({"name": "x"},))  # type: ignore[arg-type]
    with pytest.raises(MessageMalformed):
        open_catalogue(signed_catalogue(odd, identity), identity.public)
    assert json.loads(text)["signature"]


def test_a_file_of_the_format_before_is_read_without_what_it_did_not_say(identity: Identity) -> None:
    document = catalogue_document(catalogue("上海"))
    old = {"refusal", "own_rules"}
    document["datasets"] = [{k: v for k, v in d.items() if k not in old} for d in document["datasets"]]
    text = json.dumps({**document, "format": "fedmed/catalogue/1"}, ensure_ascii=False)
    signature = identity.sign(signed_bytes("catalogue", text.encode()))
    file = json.dumps({"content": text, "signature": signature.hex()})
    assert open_catalogue(file, identity.public) == catalogue("上海")


@settings(max_examples=at_most(20))
@given(rows=st.integers(0, 10**12))
def test_a_band_holds_the_number_and_hides_small_ones(rows: int) -> None:
    words = size_band(rows)
    if rows < SMALLEST_BAND:
        assert words == size_band(0) == "under 1,000"
        return
    low, high = (int(word.replace(",", "")) for word in words.split(" to "))
    assert low <= rows < high <= 2.5 * low
