"""Provinces that run reviewed bundles only: real SuperNodes with a list of trusted entities and a registry.

The signed bundle runs; where one province trusts another key of the same name, its SuperNode refuses the
bundle before any code of it starts, and the study ends without a sum.
"""

import json

import pytest

from fedmed.crypto.bundle_review import review_bundle, review_text, trusted_line
from fedmed.crypto.identity import Identity
from fedmed.types import Scheme
from fedmed_server.coordinator import prepare
from fedmed_server.reviews import add_review, build_bundle
from tests.drills.arena import CAN_RUN, WHY_NOT, arena

pytestmark = [pytest.mark.slow, pytest.mark.drill, pytest.mark.skipif(not CAN_RUN, reason=WHY_NOT)]

REVIEWER = Identity.create("li.wei")
STRANGER = Identity.create("li.wei")


def reviewed(trusted):
    """Have the bundle signed by the reviewer; each node trusts the key given for it."""

    def change(home, nodes):
        prepare(home)
        add_review(home, review_text(review_bundle(REVIEWER, build_bundle(home), signed_at=1)))
        for node, who in zip(nodes, trusted, strict=True):
            place = node.flower / "trusted.yaml"
            place.write_text(trusted_line(who.name, who.public.signing_key) + "\n")
            settings = node.flower / "courier.toml"
            lines = [li for li in settings.read_text().splitlines() if not li.startswith("trusted")]
            settings.write_text("\n".join([*lines, f"trusted = {json.dumps(str(place))}"]) + "\n")

    return change


def test_a_signed_bundle_runs_where_its_reviewer_is_trusted():
    with arena(reviewed([REVIEWER] * 3)) as field:
        field.wait_until_online()
        result = field.run(field.study(scheme=Scheme.PLAIN, aggregations=1))
        assert result.code == ""
        assert result.run is not None
        log = (field.nodes[0].flower / "log" / "supernode.log").read_text()
        assert "could not verify" not in log


def test_a_bundle_that_no_trusted_key_signed_starts_no_code():
    with arena(reviewed([REVIEWER, REVIEWER, STRANGER])) as field:
        field.wait_until_online()
        result = field.run(field.study(scheme=Scheme.PLAIN, aggregations=1))
        assert result.run is None
        assert result.code in {"too_few_nodes", "node_lost"}
        log = (field.nodes[2].flower / "log" / "supernode.log").read_text()
        assert "FAB verification failed" in log
