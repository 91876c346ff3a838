"""An audit as one self-contained HTML page: claimed, proven and estimated epsilon, and every check."""

from __future__ import annotations

from collections.abc import Iterator

from fedmed.report.audit_plots import epsilon_plot, score_plot
from fedmed.report.audit_result import AuditResult, CheckPart, MembershipPart
from fedmed.report.page import Tile
from fedmed.report.sheet import Cell, Section, Sheet, Tone, render_sheet
from fedmed.report.units import count, delta, plural
from fedmed.report.units import epsilon as epsilon_text

AUDIT_PAGE = "audit.html"
AUDIT_DOCUMENT = "audit.json"

CHECKS = {
    "noise_scale": ("Noise scale", "deviation of absent canaries over what the plan says"),
    "noise_scale_of_rounds": ("Quietest round", "the same in the round with the least noise"),
    "freshness": ("Freshness", "correlation of each round's noise with the round before"),
    "freshness_overall": ("Freshness overall", "spread of all rounds together: repeated noise adds up"),
    "canary_size": ("Canary size", "what one made-up person adds, in clip norms: 1 is right"),
}


def render_audit(audit: AuditResult) -> str:
    """Render the page.

    Args:
        audit: Any audit.

    Returns:
        One HTML document, UTF-8 text, that refers to nothing outside itself.

    Guarantees:
        Every text is escaped; the same value gives the same page.
    """
    return render_sheet(
        Sheet(
            kicker="FedMed audit" + (" · simulation on local tables" if audit.simulation else ""),
            title=audit.title,
            finding=audit_finding(audit),
            is_good=audit.passed,
            meta=_meta(audit),
            tiles=_tiles(audit),
            warnings=_warnings(audit),
            sections=tuple(_sections(audit)),
            footer=f"FedMed, {audit.created}. Study {audit.digest}.",
        )
    )


def audit_finding(audit: AuditResult) -> str:
    """What the reader should know first, in one sentence."""
    failed = [check.name for check in audit.worst_checks if not check.holds]
    if failed:
        return f"Do not release: {', '.join(CHECKS[name][0].lower() for name in failed)} failed."
    if audit.proven > audit.claimed:
        return (
            f"The claim does not hold: epsilon is at least {epsilon_text(audit.proven)}, claimed is "
            f"{epsilon_text(audit.claimed)}."
        )
    return (
        f"Every check holds in {plural(len(audit.runs), 'run')}; nothing contradicts the claimed epsilon of "
        f"{epsilon_text(audit.claimed)}."
    )


def _meta(audit: AuditResult) -> tuple[tuple[str, str], ...]:
    """What was audited."""
    return (
        ("Study", audit.study_id),
        ("Canaries", count(audit.canaries)),
        ("Sums", count(audit.rounds)),
        ("Runs", count(len(audit.runs))),
        ("Delta", delta(audit.delta)),
    )


def _tiles(audit: AuditResult) -> tuple[Tile, ...]:
    """The epsilons."""
    estimated = "no bound" if audit.estimated is None else epsilon_text(audit.estimated)
    confidence = f"{audit.confidence:.0%} confidence"
    return (
        Tile(name="Claimed epsilon", value=epsilon_text(audit.claimed), note="by the accounting"),
        Tile(name="Proven at least", value=epsilon_text(audit.proven), note=confidence),
        Tile(name="Estimated", value=estimated, note=f"{epsilon_text(audit.expected)} is due with all noise"),
    )


def _warnings(audit: AuditResult) -> tuple[str, ...]:
    """What is missing."""
    if not audit.missing:
        return ()
    return (f"No coins came from {', '.join(audit.missing)}: clipping there was not looked at.",)


def _sections(audit: AuditResult) -> Iterator[Section]:
    """Pictures, checks, the attack, and what the figures mean."""
    yield Section(
        name="epsilons",
        heading="Claimed, proven, estimated",
        lead=(
            "A claim reckons with the noise that is sure to be there; with all noise there the canaries "
            "should look like the second bar, and the estimate should lie near it. What is proven can only "
            "refute a claim, never confirm it. Marks are single runs. The farther the two heaps of canaries "
            "stand apart, the more a release tells about one person."
        ),
        plots=(epsilon_plot(audit), score_plot(audit)),
    )
    yield Section(
        name="checks",
        heading="Checks that every release must pass",
        lead=(
            "Each raises a false alarm in at most one honest study of a million. Of several runs, the one "
            "that comes closest to a bound is shown."
        ),
        columns=("Check", "Verdict", "Found", "Must be"),
        rows=tuple(_row(check) for check in audit.worst_checks),
    )
    if audit.membership is not None:
        yield _attack(audit.membership)
    yield Section(name="meaning", heading="What these figures are", sentences=_meaning(audit))


def _row(check: CheckPart) -> tuple[Cell, ...]:
    """One check."""
    name, words = CHECKS[check.name]
    found = "none" if check.found is None else f"{check.found:.3f}"
    return (
        Cell(text=name, note=words),
        Cell(text="holds" if check.holds else "FAILS", tone=Tone.GOOD if check.holds else Tone.BAD),
        Cell(text=found, is_number=True),
        Cell(text=f"{check.low:.3f} to {check.high:.3f}", is_number=True),
    )


def _attack(found: MembershipPart) -> Section:
    """The membership attack."""
    rows = (
        ("AUC of the attack", f"{found.auc:.3f}", f"95 % interval {found.low:.3f} to {found.high:.3f}"),
        ("Largest advantage", f"{found.advantage:.3f}", f"epsilon allows any attack {found.allowed:.3f}"),
        ("Found at 1 % accused", f"{found.found_at_one_percent:.1%}", "chance level: 1 %"),
    )
    return Section(
        name="membership",
        heading="Membership attack on the model: a risk figure, no guarantee",
        lead=(
            f"Somebody who has the released model and a person's rows guesses that {count(found.members)} "
            f"persons trained it and {count(found.others)} did not, by how well it fits them. 0.5 is a coin."
        ),
        columns=("Figure", "Found", "Beside it"),
        rows=tuple(
            (Cell(text=name), Cell(text=value, is_number=True), Cell(text=beside))
            for name, value, beside in rows
        ),
    )


def _meaning(audit: AuditResult) -> tuple[str, ...]:
    """How to read it."""
    return (
        "A canary is a made-up person with a coordinate of its own behind the model's. A coin that its "
        "province sealed before the first sum decides whether it takes part; it goes through the same "
        "clipping, rounding, noise and encryption as every insured person and never touches the model.",
        "Canaries are nobody, so they cost nobody privacy; they cost bytes and noise in coordinates of "
        "their own.",
        f"The proven epsilon holds with {audit.confidence:.0%} confidence over all runs together. With "
        f"{count(audit.canaries)} canaries it stays far below the truth even for an honest mechanism: a "
        "small one is no good news.",
        "The estimate has no confidence and supposes Gaussian noise; it sees a missing share of noise that "
        "the proven epsilon cannot.",
        "Canaries do not test the gradients of the model: those are compared with row-by-row gradients in "
        "FedMed's own tests.",
    )
