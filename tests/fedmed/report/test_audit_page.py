"""The page of an audit: epsilons, checks, attack, and what it says when something fails."""

from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.report.audit_page import audit_finding, render_audit
from fedmed.report.audit_result import AuditResult, AuditRun, CheckPart, MembershipPart


def run(proven: float = 0.5, *, found: float | None = 1.01, estimated: float | None = 2.5) -> AuditRun:
    holds = found is not None and 0.95 <= found <= 1.05
    return AuditRun(
        expected=2.6,
        proven=proven,
        estimated=estimated,
        checks=(
            CheckPart(name="noise_scale", found=found, low=0.95, high=1.05, holds=holds),
            CheckPart(name="canary_size", found=1.1, low=0.5, high=1.5, holds=True),
        ),
        scores=(0.1, -0.4, 1.2, 0.9),
        present=(False, False, True, True),
    )


def audit(*runs: AuditRun, **changes: object) -> AuditResult:
    whole = AuditResult(
        study_id="small",
        title="Cost <next> year",
        digest="00" * 32,
        simulation=True,
        claimed=3.9,
        delta=1e-5,
        confidence=0.95,
        nodes=("上海", "anhui"),
        missing=(),
        rounds=40,
        runs=runs or (run(),),
        created="2026-11-22T10:00:00+00:00",
    )
    return whole.model_copy(update=changes)


def test_the_document_comes_back_and_others_are_refused() -> None:
    one = audit(run(), run(0.7))
    assert AuditResult.from_json(one.to_json()) == one
    with pytest.raises(ConfigError, match="not the document of an audit"):
        AuditResult.from_json("{}")


def test_several_runs_come_to_one_figure_each() -> None:
    one = audit(run(0.2), run(0.7, found=0.96, estimated=3.5))
    assert (one.proven, one.estimated, one.canaries) == (0.7, 3.0, 4)
    assert [check.found for check in one.worst_checks] == [0.96, 1.1]
    assert audit(run(), run(estimated=None)).estimated is None


RISK = MembershipPart(
    auc=0.51,
    low=0.5,
    high=0.52,
    advantage=0.02,
    allowed=0.96,
    found_at_one_percent=0.012,
    members=700,
    others=300,
)


def test_the_page_shows_the_three_epsilons_and_every_check() -> None:
    page = render_audit(audit())
    for words in ("Claimed epsilon", "3.90", "Proven at least", "0.50", "Estimated", "2.50"):
        assert words in page
    assert "Noise scale" in page
    assert "Cost &lt;next&gt; year" in page
    assert "nothing contradicts the claimed epsilon of 3.90" in page
    assert "Membership" not in page
    assert "FAILS" not in page


@pytest.mark.slow
def test_what_fails_what_is_missing_and_the_attack_are_said() -> None:
    failed = audit(run(), run(found=0.5, estimated=None), missing=("jiangsu",), membership=RISK)
    page = render_audit(failed)
    assert "Do not release: noise scale failed." in page
    assert "FAILS" in page
    assert "No coins came from jiangsu" in page
    assert "a risk figure, no guarantee" in page
    assert "epsilon allows any attack 0.960" in page


@pytest.mark.parametrize("found", [0.5, None])
def test_a_failed_check_is_the_finding(found: float | None) -> None:
    failed = audit(run(), run(found=found))
    assert not failed.passed
    assert audit_finding(failed) == "Do not release: noise scale failed."


def test_a_refuted_claim_is_the_finding() -> None:
    refuted = audit(run(4.2))
    assert not refuted.passed
    assert "epsilon is at least 4.20" in audit_finding(refuted)
