"""A province's policy and its verdict on a study: rules only, no effect.

A policy decides on what the study declares, never on rows: a refusal that depended on data would itself
tell something about the data (PROTOCOL.md section 6).

Threat model: a coordinator asks for more than it may have, in columns, privacy or partners; a policy outlives
the agreement that it was written for. Every rule therefore refuses by its name, a policy can carry a last
day, and where a policy speaks of grades, a column without one is refused. Not covered: a data holder who
writes a loose policy; that is theirs to decide, and their policy's digest is in every operator's signature.
"""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from enum import Enum
from typing import Final

from fedmed.data.nhsa.schema import Grade
from fedmed.errors import BudgetExceeded, CohortTooSmall, StudyExpired, StudyRefused
from fedmed.governance.operators import Operators
from fedmed.study import (
    PURPOSES,
    RegressionStudy,
    StatisticsStudy,
    StudySpec,
    SurvivalStudy,
    TrainingStudy,
)
from fedmed.types import Allowance, Mode, OnDropout, Scheme, digest, require

Grades = Mapping[str, Grade]
"""Grade by column, as the province registered them."""
NO_GRADES: Final[Grades] = {}
LEAST_CELL, MOST_CELL = 5, 30
"""Between these a province says of how many persons an exact study may show something."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoApprove:
    """Which of the allowed studies start without the operators; every condition must hold.

    Attributes:
        max_epsilon: Largest planned epsilon (> 0).
        purposes: Purposes; None = all that the policy allows.
        modes: Modes; None = all that the policy allows.
        owners: Owners, exactly as studies name them; None = anybody. The coordinator signs a study, so this
            trusts it for the owner's name.
    """

    max_epsilon: float
    purposes: frozenset[str] | None = None
    modes: frozenset[Mode] | None = None
    owners: frozenset[str] | None = None

    def __post_init__(self) -> None:
        good = math.isfinite(self.max_epsilon) and self.max_epsilon > 0
        require(good, f"auto_approve.max_epsilon must be > 0, got {self.max_epsilon}")
        _require_purposes(self.purposes or frozenset(), where="auto_approve.purposes")

    def covers(self, spec: StudySpec) -> bool:
        """Whether a study may start by this rule."""
        return (
            spec.privacy.epsilon <= self.max_epsilon
            and (self.purposes is None or spec.purpose in self.purposes)
            and (self.modes is None or spec.privacy.mode in self.modes)
            and (self.owners is None or spec.owner in self.owners)
        )


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
        models: Models that may be trained, and other kinds of study by their name; None = all.
        grades: Grades of columns that may be computed on; None = the policy does not speak of grades. Where
            it does, a column without a grade is refused. The pseudonym is only grouped by, never computed on.
        allow_ungraded: Whether columns without a grade may be computed on all the same.
        denied_columns: Columns that may not be computed on, whatever their grade.
        min_threshold: Least shares that open; None = any.
        min_dropouts: Least allowance for lost contributors; None = any.
        min_colluders: Least allowance for colluders; None = any.
        allow_continue: Whether a study with noise may go on after a contributor is lost. Each loss lets the
            coordinator subtract two sums, which publishes the lost node's noisy sum. Exact studies never may.
        exact_statistics: Whether sums may be released without noise. They cost no epsilon because they have
            none: whoever knows all persons of a sum but one knows that one.
        research: Whether uploads may travel unencrypted, for tests and comparisons on public data.
        auto_approve: Which allowed studies start without the operators' approval: all, none, or by rules.
        operators: Who may approve, by signature, and how many it takes; None = whoever the custodian's socket
            lets in as operator, alone and without a signature.
        expires: Last day on which this policy allows anything; None = no end.
        quality_gate: Least registered quality score, in [0, 1], of a dataset that is served; None = any. A
            dataset without scores is then not served: the scores are public, so this tells nothing of rows.
        min_cell: Fewest persons of a cell, a step of a curve or a group in a fit that an exact study may
            show, 5 to 30. The coordinator hides smaller ones; a study that says less is refused.
        differencing_window_days: For how many days an answer counts when a new study asks nearly the same.
    """

    max_epsilon_per_study: float
    max_epsilon_per_year: float
    modes: frozenset[Mode] = frozenset({Mode.AGGREGATE})
    schemes: frozenset[Scheme] = frozenset({Scheme.THRESHOLD})
    purposes: frozenset[str] = frozenset(PURPOSES)
    min_cohort: int = 100
    min_contributors: int = 3
    models: frozenset[str] | None = None
    grades: frozenset[Grade] | None = None
    allow_ungraded: bool = False
    denied_columns: frozenset[str] = frozenset()
    min_threshold: int | None = None
    min_dropouts: int | None = None
    min_colluders: int | None = None
    allow_continue: bool = False
    exact_statistics: bool = False
    research: bool = False
    auto_approve: bool | AutoApprove = False
    operators: Operators | None = None
    expires: datetime.date | None = None
    quality_gate: float | None = None
    min_cell: int = 11
    differencing_window_days: int = 365

    def __post_init__(self) -> None:
        limits = (self.max_epsilon_per_study, self.max_epsilon_per_year)
        require(all(math.isfinite(e) and e > 0 for e in limits), f"epsilon limits must be > 0, got {limits}")
        require(limits[0] <= limits[1], f"max_epsilon_per_study must be <= the year's, got {limits}")
        _require_purposes(self.purposes, where="purposes")
        require(self.min_cohort >= 1, f"min_cohort must be >= 1, got {self.min_cohort}")
        require(self.min_contributors >= 3, f"min_contributors must be >= 3, got {self.min_contributors}")
        no_grades = self.grades is None and self.allow_ungraded
        gate = self.quality_gate
        require(gate is None or 0 <= gate <= 1, f"quality_gate must be in [0, 1], got {gate}")
        cells = f"min_cell must be {LEAST_CELL} to {MOST_CELL}, got {self.min_cell}"
        require(LEAST_CELL <= self.min_cell <= MOST_CELL, cells)
        days = self.differencing_window_days
        require(days >= 1, f"differencing_window_days must be >= 1, got {days}")
        require(not no_grades, "allow_ungraded needs grades: without them no column is refused for its grade")

    @property
    def digest(self) -> bytes:
        """32 bytes that stand for this policy: what operators sign their acts under.

        Guarantees:
            Policies that differ in any rule have different digests; the order in which rules or operators
            are written does not matter.
        """
        values = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return digest("fedmed/policy", json.dumps(values, sort_keys=True, allow_nan=False).encode())

    def approves_by_itself(self, spec: StudySpec) -> bool:
        """Whether a study that is allowed starts without the operators."""
        return self.auto_approve if isinstance(self.auto_approve, bool) else self.auto_approve.covers(spec)


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
    grades: Grades = NO_GRADES,
) -> Decision:
    """Judge a study by a province's policy.

    Args:
        spec: The study.
        policy: The province's policy.
        declared_persons: This province's public number of insured persons, from its own catalogue.
        today: The day at this province.
        allowance: The study's worked-out allowance. Without it only what the study file states counts,
            and a minimum that the file leaves open is refused.
        grades: What this province registered for the study's dataset.

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
    check_policy_day(policy, today)
    _check_kind(spec, policy)
    _check_columns(spec, policy, grades)
    _check_cohort(spec, policy, declared_persons)
    _check_privacy(spec, policy)
    _check_allowance(spec, policy, allowance)
    return Decision(waits_for_operator=not policy.approves_by_itself(spec), remarks=_remarks(spec, allowance))


def computed_columns(spec: StudySpec) -> tuple[str, ...]:
    """Columns that a study computes on: all that it reads but the pseudonym, by which rows are grouped."""
    return tuple(name for name in spec.columns if name != spec.data.person)


def computed_model(spec: StudySpec) -> str:
    """What a study fits, as ``models`` of a policy names it: the model that it trains, else its kind."""
    return spec.model.kind if isinstance(spec, TrainingStudy) else spec.kind.value


def fewest_shown(spec: StudySpec) -> tuple[str, int]:
    """The fewest persons of whom an exact study may show something: the key that says it, and the number.

    0 for a kind that says nothing, which no policy allows.
    """
    match spec:
        case StatisticsStudy():
            return "privacy.minimum_cell", spec.privacy.minimum_cell or 0
        case RegressionStudy():
            return "regression.min_cell", spec.regression.min_cell
        case SurvivalStudy():
            return "survival.min_cell", spec.survival.min_cell
    return "study.kind", 0


def check_policy_day(policy: Policy, today: datetime.date) -> None:
    """Refuse everything once the policy itself has ended, studies under way as well.

    Raises:
        StudyRefused: ``today`` is after the policy's last day.
    """
    if policy.expires is not None:
        _allow(
            today <= policy.expires,
            f"policy expires: the province's policy ended on {policy.expires}; its data holder must renew it",
        )


def check_scheme(policy: Policy, scheme: Scheme) -> None:
    """Refuse a secure sum that the province does not take part in, its ceremony as well as its studies.

    Raises:
        StudyRefused: the scheme is not among the policy's ``schemes``.
    """
    usable = " or ".join(sorted(s.value for s in policy.schemes)) or "none: the policy lists no scheme"
    _allow(scheme in policy.schemes, f"schemes: scheme {scheme.value} is not allowed here; use {usable}")


def column_refusal(name: str, policy: Policy, grades: Grades) -> str:
    """Why a policy lets no study compute on a column, in a few words; empty where it may.

    Guarantees:
        `decide` refuses a study that computes on a column exactly where this says why.
    """
    if name in policy.denied_columns:
        return "denied"
    if policy.grades is None:
        return ""
    if name not in grades:
        return "" if policy.allow_ungraded else "carries no grade"
    return "" if grades[name] in policy.grades else f"grade {grades[name].value} is not allowed"


def _check_columns(spec: StudySpec, policy: Policy, grades: Grades) -> None:
    """Every column that is computed on is neither denied nor of a grade that is."""
    columns = computed_columns(spec)
    denied = sorted(set(columns) & policy.denied_columns)
    _allow(not denied, f"denied_columns: {', '.join(denied)} may not be used here; leave them out")
    if policy.grades is None:
        return
    ungraded = [name for name in columns if name not in grades]
    _allow(
        policy.allow_ungraded or not ungraded,
        f"grades: {', '.join(ungraded)} carry no grade in this node's registration; leave them out, or let "
        "the province grade them",
    )
    graded = [(name, grades[name]) for name in columns if name in grades]
    above = [f"{name} ({grade.value})" for name, grade in graded if grade not in policy.grades]
    _allow(not above, f"grades: {', '.join(above)} are not of a grade that may be used here; leave them out")


def _check_kind(spec: StudySpec, policy: Policy) -> None:
    """Purpose, mode, scheme and what happens after a loss."""
    scheme = spec.aggregation.scheme
    _allow(
        spec.purpose in policy.purposes,
        f"purposes: {spec.purpose} is not among those this province serves: "
        f"{', '.join(sorted(policy.purposes)) or 'none'}",
    )
    _allow(spec.privacy.mode in policy.modes, f"modes: mode {spec.privacy.mode.value} is not allowed here")
    _allow(
        policy.models is None or computed_model(spec) in policy.models,
        f"models: {computed_model(spec)} is not allowed here; use {' or '.join(sorted(policy.models or ()))}",
    )
    check_scheme(policy, scheme)
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
    """Epsilon of the study against the study's and the year's limit; an exact study needs its own yes."""
    if spec.privacy.is_exact:
        _allow(
            policy.exact_statistics,
            "exact_statistics: sums without noise protect nobody who can be told apart by them and are not "
            'allowed here; set protection = "noise"',
        )
        # Two exact sums over S and over S without one node are that node's own, and no policy may want that.
        _allow(
            spec.aggregation.on_dropout is not OnDropout.CONTINUE,
            "on_dropout: an exact sum over fewer nodes, taken from one before, is the lost node's own exact "
            'sum; set on_dropout = "stop", or ask with noise',
        )
        key, cell = fewest_shown(spec)
        _allow(
            cell >= policy.min_cell,
            f"min_cell: groups of {cell} persons would be shown, {policy.min_cell} are the fewest here; "
            f"raise {key}",
        )
        return
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
        ("min_threshold", policy.min_threshold, stated.threshold),
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
    if spec.privacy.is_exact:
        remarks.append("sums are exact: no noise protects a person in them, and no epsilon is spent")
    if spec.aggregation.scheme is Scheme.CKKS:
        remarks.append(
            "every province holds the key to every upload: one that gets hold of this node's upload, or the "
            "coordinator with any one province, opens it"
        )
    if spec.aggregation.scheme is Scheme.PLAIN:
        remarks.append("uploads travel unencrypted: the coordinator sees each node's noisy sum")
    if spec.aggregation.on_dropout is OnDropout.CONTINUE:
        remarks.append("the study goes on after a loss: a lost node's noisy sum can be told apart, once")
    if spec.privacy.max_nodes_per_person > 1:
        homes = f"at {spec.privacy.max_nodes_per_person} nodes"
        remarks.append(
            f"one person may be trained on {homes}; every node's steps are charged"
            if spec.privacy.mode is Mode.LOCAL
            else f"one person may appear {homes}; clips are divided"
        )
    colluders = spec.aggregation.colluders if allowance is None else allowance.colluders
    if colluders == 0 and not spec.privacy.is_exact and spec.privacy.mode is not Mode.LOCAL:
        remarks.append(
            "no colluder is allowed for: against another province, which knows its own noise and every sum, "
            "the planned epsilon does not hold"
        )
    return tuple(remarks)


def _require_purposes(purposes: Iterable[str], *, where: str) -> None:
    """Refuse purposes that no study can have."""
    unknown = sorted(set(purposes) - set(PURPOSES))
    require(not unknown, f"{where}: unknown {', '.join(unknown)}; use some of {', '.join(PURPOSES)}")


def _plain(value: object) -> object:
    """A rule as JSON, sets in order."""
    if isinstance(value, frozenset):
        return sorted(str(_plain(item)) for item in value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, Operators):
        keys = {name: key.hex() for name, key in value.keys.items()}
        return {"keys": keys, "approvals_needed": value.approvals_needed}
    if isinstance(value, AutoApprove):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return float(value) if type(value) is float or type(value) is int else value


def _allow(condition: bool, message: str) -> None:
    """Refuse the study unless ``condition`` holds."""
    if not condition:
        raise StudyRefused(message)
