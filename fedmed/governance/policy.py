"""A province's policy and its verdict on a study: rules only, no effect.

A policy decides on what the study declares, never on rows: a refusal that depended on data would itself
tell something about the data (PROTOCOL.md section 6).
"""

from __future__ import annotations

import datetime
import math
from dataclasses import dataclass

from fedmed.errors import BudgetExceeded, CohortTooSmall, StudyExpired, StudyRefused
from fedmed.study import PURPOSES, StudySpec
from fedmed.types import Allowance, Mode, OnDropout, Scheme, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a province allows; written by the data holder and by nobody else.

    Attributes:
        max_epsilon_per_study: Largest planned epsilon of one study (> 0).
        max_epsilon_per_year: Largest epsilon of one data year over all studies (>= the former). What is
            already spent stands in the ledger, which the custodian asks; here a study is refused that
            could not even be the first.
        modes: Modes that may run.
        schemes: Secure sums that may run; ``plain`` needs ``research`` as well.
        purposes: Purposes that may be served, of `fedmed.study.PURPOSES`.
        min_cohort: Least declared insured persons at this node (>= 1).
        min_contributors: Least contributors of a sum (>= 3).
        min_dropouts: Least allowance for lost contributors; None = any.
        min_colluders: Least allowance for colluders; None = any.
        allow_continue: Whether a study may go on after a contributor is lost. Each loss lets the
            coordinator subtract two sums, which publishes the lost node's noisy sum.
        research: Whether uploads may travel unencrypted, for tests and comparisons on public data.
        auto_approve: Whether an allowed study starts without the operator's approval.
    """

    max_epsilon_per_study: float
    max_epsilon_per_year: float
    modes: frozenset[Mode] = frozenset({Mode.AGGREGATE})
    schemes: frozenset[Scheme] = frozenset({Scheme.THRESHOLD})
    purposes: frozenset[str] = frozenset(PURPOSES)
    min_cohort: int = 100
    min_contributors: int = 3
    min_dropouts: int | None = None
    min_colluders: int | None = None
    allow_continue: bool = False
    research: bool = False
    auto_approve: bool = False

    def __post_init__(self) -> None:
        limits = (self.max_epsilon_per_study, self.max_epsilon_per_year)
        require(all(math.isfinite(e) and e > 0 for e in limits), f"epsilon limits must be > 0, got {limits}")
        require(limits[0] <= limits[1], f"max_epsilon_per_study must be <= the year's, got {limits}")
        unknown = sorted(self.purposes - set(PURPOSES))
        require(not unknown, f"unknown purposes {', '.join(unknown)}; use some of {', '.join(PURPOSES)}")
        require(self.min_cohort >= 1, f"min_cohort must be >= 1, got {self.min_cohort}")
        require(self.min_contributors >= 3, f"min_contributors must be >= 3, got {self.min_contributors}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A policy's yes to a study.

    Attributes:
        waits_for_operator: Whether the province's operator must still approve.
        remarks: What the operator should know about the study, in words; may be empty.
    """

    waits_for_operator: bool
    remarks: tuple[str, ...]


def decide(
    spec: StudySpec,
    policy: Policy,
    *,
    declared_persons: int,
    today: datetime.date,
    allowance: Allowance | None = None,
) -> Decision:
    """Judge a study by a province's policy.

    Args:
        spec: The study.
        policy: The province's policy.
        declared_persons: This province's public number of insured persons, from its own catalogue.
        today: The day at this province.
        allowance: The study's worked-out allowance. Without it only what the study file states counts,
            and a minimum that the file leaves open is refused.

    Returns:
        The yes; every no is an error that starts with the rule that refused.

    Raises:
        StudyExpired: the study's last day has passed.
        CohortTooSmall: fewer declared persons than the study or the policy asks for.
        BudgetExceeded: the study needs more than a whole year's budget.
        StudyRefused: any other rule.
    """
    if today > spec.expires:
        raise StudyExpired(f"expires: the study ended on {spec.expires}; propose it with a later day")
    _check_kind(spec, policy)
    _check_cohort(spec, policy, declared_persons)
    _check_privacy(spec, policy)
    _check_allowance(spec, policy, allowance)
    return Decision(waits_for_operator=not policy.auto_approve, remarks=_remarks(spec, allowance))


def _check_kind(spec: StudySpec, policy: Policy) -> None:
    """Purpose, mode, scheme and what happens after a loss."""
    scheme = spec.aggregation.scheme
    _allow(
        spec.purpose in policy.purposes,
        f"purposes: {spec.purpose} is not among those this province serves: "
        f"{', '.join(sorted(policy.purposes)) or 'none'}",
    )
    _allow(spec.privacy.mode in policy.modes, f"modes: mode {spec.privacy.mode.value} is not allowed here")
    _allow(scheme in policy.schemes, f"schemes: scheme {scheme.value} is not allowed here; use threshold")
    _allow(
        scheme is not Scheme.PLAIN or policy.research,
        "research: scheme plain shows uploads to the coordinator and needs a policy for research; "
        "use threshold",
    )
    _allow(
        spec.aggregation.on_dropout is not OnDropout.CONTINUE or policy.allow_continue,
        'allow_continue: the study must end when a contributor is lost; set on_dropout = "stop"',
    )


def _check_cohort(spec: StudySpec, policy: Policy, declared_persons: int) -> None:
    """Declared counts only: true ones are data."""
    least = max(spec.data.min_cohort, policy.min_cohort)
    if declared_persons < least:
        raise CohortTooSmall(
            f"min_cohort: this node declares {declared_persons} insured persons, {least} are needed; "
            "leave this node out or widen the cohort"
        )


def _check_privacy(spec: StudySpec, policy: Policy) -> None:
    """Epsilon of the study against the study's and the year's limit."""
    epsilon = spec.privacy.epsilon
    if epsilon > policy.max_epsilon_per_year:
        raise BudgetExceeded(
            f"max_epsilon_per_year: epsilon {epsilon:g} is above the year's whole budget "
            f"{policy.max_epsilon_per_year:g}; lower epsilon"
        )
    _allow(
        epsilon <= policy.max_epsilon_per_study,
        f"max_epsilon_per_study: epsilon {epsilon:g} is above {policy.max_epsilon_per_study:g}; "
        "lower epsilon",
    )


def _check_allowance(spec: StudySpec, policy: Policy, allowance: Allowance | None) -> None:
    """Dropouts, colluders and contributors against the policy's minima."""
    stated = spec.aggregation if allowance is None else allowance
    # The protocol never sums fewer than three, so this minimum needs no word in the study.
    contributors = 3 if stated.min_contributors is None else stated.min_contributors
    for rule, least, value in (
        ("min_contributors", policy.min_contributors, contributors),
        ("min_dropouts", policy.min_dropouts, stated.dropouts),
        ("min_colluders", policy.min_colluders, stated.colluders),
    ):
        name = rule.removeprefix("min_") if rule != "min_contributors" else rule
        _allow(
            least is None or (value is not None and value >= least),
            f"{rule}: {name} must be at least {least}, the study says "
            f"{'nothing' if value is None else value}; raise aggregation.{name}",
        )


def _remarks(spec: StudySpec, allowance: Allowance | None) -> tuple[str, ...]:
    """What is allowed and yet worth a thought before approval."""
    remarks = []
    if spec.aggregation.scheme is Scheme.PLAIN:
        remarks.append("uploads travel unencrypted: the coordinator sees each node's noisy sum")
    if spec.aggregation.on_dropout is OnDropout.CONTINUE:
        remarks.append("the study goes on after a loss: a lost node's noisy sum can be told apart, once")
    if spec.privacy.max_nodes_per_person > 1:
        remarks.append(
            f"one person may appear at {spec.privacy.max_nodes_per_person} nodes; clips are divided"
        )
    if (spec.aggregation.colluders if allowance is None else allowance.colluders) == 0:
        remarks.append(
            "no colluder is allowed for: against another province, which knows its own noise and every sum, "
            "the planned epsilon does not hold"
        )
    return tuple(remarks)


def _allow(condition: bool, message: str) -> None:
    """Refuse the study unless ``condition`` holds."""
    if not condition:
        raise StudyRefused(message)
