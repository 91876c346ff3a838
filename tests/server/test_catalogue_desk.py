from pathlib import Path

import pytest

from fedmed.catalogue.document import LONGEST_BYTES, signed_catalogue
from fedmed.crypto.identity import Identity
from fedmed.errors import ConfigError, SignatureInvalid
from fedmed.messages import Member, Roster
from fedmed_server.catalogue_desk import ENDING, federation_document, read_catalogues
from tests.catalogues import catalogue

NAMES = ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def identities() -> dict[str, Identity]:
    return {name: Identity.create(name) for name in (*NAMES, "coordinator")}


@pytest.fixture
def roster(identities: dict[str, Identity]) -> Roster:
    cards = {
        name: Member(name=name, signing_key=i.public.signing_key, sealing_key=i.public.sealing_key)
        for name, i in identities.items()
    }
    coordinator = cards.pop("coordinator")
    return Roster(version=1, members=tuple(cards.values()), coordinator=coordinator, threshold=3, colluders=1)


def hand_in(folder: Path, name: str, identity: Identity, **changes: object) -> None:
    (folder / f"{name}{ENDING}").write_text(signed_catalogue(catalogue(name, **changes), identity))


def test_catalogues_are_checked_against_the_roster_and_compared(
    tmp_path: Path, roster: Roster, identities: dict[str, Identity]
) -> None:
    for name in ("b", "a", "c"):
        hand_in(tmp_path, name, identities[name], data_year=2023 if name == "b" else 2024)
    found, missing = read_catalogues(tmp_path, roster)
    assert [one.node for one in found] == ["a", "b", "c"]
    assert missing == ("d",)
    document = federation_document(found, missing)
    assert [one["what"] for one in document["differences"]] == ["person_year: year"]
    assert document["missing"] == ["d"]
    hand_in(tmp_path, "d", identities["a"])
    with pytest.raises(SignatureInvalid, match="d"):
        read_catalogues(tmp_path, roster)


def test_no_file_and_a_broken_one_are_said(tmp_path: Path, roster: Roster) -> None:
    with pytest.raises(ConfigError, match="no catalogue there"):
        read_catalogues(tmp_path, roster)
    for data in (b"\xff", b"x" * (LONGEST_BYTES + 1)):
        (tmp_path / f"a{ENDING}").write_bytes(data)
        with pytest.raises(ConfigError, match="ask the province for it again"):
            read_catalogues(tmp_path, roster)
