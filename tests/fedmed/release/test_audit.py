"""A release of an audited study: the gate is worked out again from what the provinces signed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from fedmed.errors import ReleaseBroken
from fedmed.release.bundle import Material, make_bundle
from fedmed.release.found import Verified
from fedmed.release.verify import verify
from fedmed.types import Scheme
from tests.federation import COORDINATOR, identity_of
from tests.fedmed.release.conftest import run_material

pytestmark = pytest.mark.slow

CANARIES = 200


@pytest.fixture(scope="module")
def audited() -> Material:
    return run_material(scheme=Scheme.PLAIN, audit__canaries=CANARIES)


def verified(material: Material) -> list[Verified]:
    return list(verify(make_bundle(material, identity_of(COORDINATOR))))


def test_an_audited_release_holds(audited: Material) -> None:
    (found,) = [one for one in verified(audited) if one.name == "audit"]
    assert found.detail == "200 canaries of 4 provinces, coins as sealed, 5 checks hold"


def test_a_release_without_noise_in_its_block_is_refused(audited: Material) -> None:
    """The model's coordinates are left alone, so nothing else can notice."""
    quiet = tuple(np.concatenate([one[:3], np.zeros_like(one[3:])]) for one in audited.sums)
    with pytest.raises(ReleaseBroken, match=r"audit: audit_failed: .*noise_scale"):
        verified(replace(audited, sums=quiet))


def test_coins_that_are_missing_are_noticed(audited: Material) -> None:
    end = json.loads(audited.exchanges[-1])
    for told in end["answered"]:
        told["parts"] = told["parts"][:1]
    line = json.dumps(end, separators=(",", ":"), ensure_ascii=True).encode() + b"\n"
    with pytest.raises(ReleaseBroken, match="node1 ended the study without showing"):
        verified(replace(audited, exchanges=(*audited.exchanges[:-1], line)))
