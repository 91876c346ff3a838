"""A custodian deals keys only of schemes that its policy allows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed.aggregation.combiners import combiner_for
from fedmed.errors import StudyRefused
from fedmed.governance.audit_chain import AuditKind
from fedmed.protocol.coordinator_ceremony import hold_ceremony
from fedmed.types import Scheme
from tests.federation import COORDINATOR, NOW, OPEN_POLICY, fresh_federation, identity_of

POINT = 3


@pytest.mark.parametrize("scheme", [Scheme.CKKS, Scheme.THRESHOLD])
def test_a_ceremony_for_a_scheme_that_the_policy_refuses_deals_nothing(scheme: Scheme) -> None:
    federation = fresh_federation()
    node = federation.nodes[POINT]
    node.with_policy(replace(OPEN_POLICY, schemes=frozenset({Scheme.THRESHOLD, Scheme.CKKS} - {scheme})))
    steps = hold_ceremony(
        identity_of(COORDINATOR),
        federation.roster,
        today=NOW.date(),
        combiner=combiner_for(scheme),
        scheme=scheme,
    )
    asked: list[str] = []
    before = node.contents()
    with pytest.raises(StudyRefused, match="node3 stopped the ceremony"):
        federation.drive(steps, tamper=lambda phase, point, parts: asked.append(phase.name) or parts)
    assert set(asked) == {"ceremony start"}, "nobody was asked for a share or a seed"
    assert node.contents() == before
    last = node.audit[-1].event
    assert (last.kind, last.code) == (AuditKind.REFUSED, "study_refused")
    assert last.detail.endswith(": rule schemes")
