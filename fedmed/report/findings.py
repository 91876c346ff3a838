"""What a reader may conclude, computed from the numbers and said in words.

Pure functions from a `Result` to sentences; page, model card and terminal print the same ones. Differences
are taken between the printed figures, and a difference below `NOTICEABLE_AUC` is called none: one run with
one draw of noise cannot show less.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedmed.errors import ConfigError
from fedmed.report.result import Arm, EvaluationPart, Result
from fedmed.report.units import difference, epsilon, metric, metric_gap, plural, ratio
from fedmed.types import Scheme

NOTICEABLE_AUC = 0.005
"""Least difference of mean AUC that is called one: the bound that federated against central is held to."""

STARVED_AUC = 0.05
"""Distance of every private arm below `pooled` from which agreement among them proves nothing."""

WELL_CALIBRATED = (0.8, 1.25)
"""Expected / observed inside this band (a factor of 1.25 either way) needs no warning."""

NAMES_SHOWN = 6

NOT_SCORED = (
    "No scores are in this result: the rows stay in the provinces, and scoring a model on their held-out "
    "persons is a release of its own, which costs privacy budget and was not part of this study."
)
"""What every report says where the scores would stand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What is said first.

    Attributes:
        headline: One line: how good, what it is worth, at which epsilon.
        conclusions: Two sentences: what training together is worth, and what it costs.
        anchor: The non-private anchor, or that there is none.
        warnings: What must not be overlooked; empty when nothing is wrong.
    """

    headline: str
    conclusions: tuple[str, str]
    anchor: str
    warnings: tuple[str, ...]


def findings(result: Result) -> Findings:
    """Say what the numbers of a result show.

    Args:
        result: Any valid result; arms other than ``federated`` may be absent.

    Returns:
        The sentences, plain text (not escaped).

    Guarantees:
        A federated model that does not beat ``alone_private`` by `NOTICEABLE_AUC` is never called worth
        something and always gives a warning; no sentence speaks of an arm that is absent; a result without
        scores says so and claims nothing about the model.
    """
    if result.arms.federated is None:
        return _without_scores(result) if result.evaluation is None else _released(result, result.evaluation)
    return Findings(
        headline=_headline(result),
        conclusions=(_worth(result), _price(result)),
        anchor=_anchor(result),
        warnings=(*_arm_warnings(result), *_node_warnings(result), *_privacy_warnings(result)),
    )


def _without_scores(result: Result) -> Findings:
    """What can be said of a model that nobody has scored: who made it and what it cost."""
    privacy, sums = result.privacy, result.aggregation
    who = plural(len(result.nodes), site_noun(result))
    return Findings(
        headline=(
            f"{who} trained one model together in {plural(sums.aggregations, 'aggregation')}, for epsilon "
            f"{epsilon(privacy.epsilon_spent)} of {epsilon(privacy.epsilon)} planned. It was not scored."
        ),
        conclusions=(NOT_SCORED, "So this result does not show what training together is worth."),
        anchor="What all rows in one place would reach is not known outside a simulation.",
        warnings=(
            "Nobody knows yet how well this model predicts. Do not use it before it was scored.",
            *_privacy_warnings(result),
        ),
    )


def _released(result: Result, part: EvaluationPart) -> Findings:
    """What can be said of a model that was scored by noisy histograms only."""
    privacy, sums = result.privacy, result.aggregation
    who, auc = plural(len(result.nodes), site_noun(result)), part.auc
    warnings = list(_privacy_warnings(result))
    if auc.low <= 0.5:
        warnings.insert(
            0, "The interval of the AUC reaches chance level: nothing shows that the model predicts."
        )
    return Findings(
        headline=(
            f"{who} trained one model together in {plural(sums.aggregations, 'aggregation')}, for epsilon "
            f"{epsilon(privacy.epsilon_spent)} of {epsilon(privacy.epsilon)} planned. Its AUC is "
            f"{metric(auc.value)} ({metric(auc.low)} to {metric(auc.high)})."
        ),
        conclusions=(
            "The scores come from noisy counts of held-out persons; their intervals cover chance and noise.",
            "This result does not show what training together is worth: no province was scored alone.",
        ),
        anchor="What all rows in one place would reach is not known outside a simulation.",
        warnings=tuple(warnings),
    )


def site_noun(result: Result) -> str:
    """Say ``province`` when every node carries a Chinese name, else ``node``."""
    return "province" if all(node.name_zh for node in result.nodes) else "node"


def went_wrong(result: Result) -> tuple[str, ...]:
    """Say which nodes were lost, which attempts were repeated and what that cost; empty when nothing did.

    Returns:
        Plain sentences in the order of events.
    """
    labels = {node.key: node.label for node in result.nodes}
    said = []
    for lost in result.aggregation.lost_nodes:
        when = f"aggregation {lost.aggregation}" if lost.aggregation else "the ceremony"
        said.append(f"{labels[lost.node]} was lost in {when}, phase {lost.phase}.")
    repeated = result.aggregation.attempts - result.aggregation.aggregations
    if repeated:
        said.append(
            f"{plural(repeated, 'attempt')} had to be repeated. Each was charged to the privacy budget like "
            f"any other: {result.aggregation.attempts} attempts for "
            f"{plural(result.aggregation.aggregations, 'aggregation')}."
        )
    sets = result.aggregation.contributors
    if len(sets) > 1:
        sizes = ", then ".join(str(len(one)) for one in sets)
        said.append(
            f"The sums were not all taken over the same {site_noun(result)}s: {sizes} contributed. "
            f"Persons stay protected; a {site_noun(result)} that left can be told apart from the rest."
        )
    return tuple(said)


def _federated(result: Result) -> Arm:
    """The study's own arm; asked for only where it is there."""
    arm = result.arms.federated
    if arm is None:
        raise ConfigError("this result holds no scores of the federated model")
    return arm


def _headline(result: Result) -> str:
    """One line."""
    fed, alone = _federated(result), result.arms.alone_private
    who = plural(len(result.nodes), site_noun(result))
    eps = epsilon(result.privacy.epsilon)
    start = f"{who} training together reach AUC {metric(fed.auc)} at epsilon {eps}"
    if alone is None:
        return f"{start}."
    gain = metric_gap(fed.auc, alone.auc)
    if gain >= NOTICEABLE_AUC:
        return f"{start}: {difference(gain)} over each training alone."
    if gain > -NOTICEABLE_AUC:
        return f"{start}: no better than each training alone."
    return f"{start}: {difference(gain)} against each training alone."


def _worth(result: Result) -> str:
    """First conclusion: against the nodes alone at the same epsilon."""
    fed, alone = _federated(result), result.arms.alone_private
    over = f"mean over {plural(len(result.nodes), site_noun(result))}"
    if alone is None:
        return (
            f"The federated model reaches AUC {metric(fed.auc)} ({over}); what each would reach alone at the "
            "same epsilon is not in this result, so it does not show what training together is worth."
        )
    gain = metric_gap(fed.auc, alone.auc)
    figures = f"{metric(fed.auc)} against {metric(alone.auc)}, {over}"
    if gain >= NOTICEABLE_AUC:
        return (
            f"Training together is worth {difference(gain)} AUC over what each {site_noun(result)} reaches "
            f"alone at the same epsilon ({figures})."
        )
    if gain > -NOTICEABLE_AUC:
        return (
            f"Training together made no difference that one run can show over each {site_noun(result)} alone "
            f"at the same epsilon ({figures})."
        )
    return (
        f"Training together did worse than each {site_noun(result)} alone at the same epsilon, by "
        f"{abs(gain):.3f} AUC ({figures})."
    )


def _price(result: Result) -> str:
    """Second conclusion: against all rows in one place, with and without privacy."""
    fed, central, pooled = _federated(result), result.arms.central, result.arms.pooled
    if central is None:
        if pooled is None:
            return "What pooling all rows in one place would reach is not known outside a simulation."
        return (
            f"Pooling all rows in one place without any privacy reaches {metric(pooled.auc)}; "
            f"federated, with privacy, {metric(fed.auc)}."
        )
    cost = metric_gap(central.auc, fed.auc)
    anchor = "" if pooled is None else f"; without any privacy {metric(pooled.auc)}"
    where = "pooling all rows in one place at the same epsilon"
    figures = f"({metric(fed.auc)} against {metric(central.auc)}{anchor})"
    if cost > 0:
        return f"It costs {cost:.3f} AUC against {where} {figures}."
    if cost == 0:
        return f"It costs nothing in the third digit against {where} {figures}."
    luck = "that is the luck of one noise draw, not a merit"
    return f"It came out {abs(cost):.3f} AUC above {where} {figures}; {luck}."


def _anchor(result: Result) -> str:
    """The non-private anchor that every comparison hangs on."""
    pooled, alone = result.arms.pooled, result.arms.alone
    if pooled is None and alone is None:
        return "There is no non-private anchor in this result: it cannot show how much privacy cost."
    parts = []
    if pooled is not None:
        parts.append(f"all rows in one place reach AUC {metric(pooled.auc)}")
    if alone is not None:
        parts.append(f"each {site_noun(result)} alone {metric(alone.auc)}")
    return f"Non-private anchor: without any privacy {' and '.join(parts)}."


def _arm_warnings(result: Result) -> list[str]:
    """Warnings from the arms' means."""
    arms, said = result.arms, []
    fed = _federated(result)
    if arms.alone_private is not None and metric_gap(fed.auc, arms.alone_private.auc) < NOTICEABLE_AUC:
        said.append(
            f"Federated does not beat {site_noun(result)}s alone at the same epsilon. This result is no "
            "reason to train together: look for gains where events are rarer, codes more or nodes smaller."
        )
    if arms.alone is not None and arms.alone.auc > fed.auc and metric_gap(arms.alone.auc, fed.auc) > 0:
        said.append(
            f"A {site_noun(result)} that trains alone and protects nobody reaches {metric(arms.alone.auc)}, "
            f"above the {metric(fed.auc)} of this private model. That gap is the price of privacy."
        )
    private = [arm.auc for arm in (fed, arms.central, arms.alone_private) if arm is not None]
    if arms.pooled is not None and metric_gap(arms.pooled.auc, max(private)) >= STARVED_AUC:
        said.append(
            f"Every private arm lies at least {STARVED_AUC:.2f} AUC below the non-private anchor. Clip "
            "bound, rate or aggregations may starve them all, and then their agreement proves nothing."
        )
    return said


def _node_warnings(result: Result) -> list[str]:
    """Warnings about single nodes."""
    said = []
    losing = _nodes_better_alone(result)
    if losing:
        said.append(f"Better off alone at the same epsilon, by AUC on their own persons: {_listed(losing)}.")
    off = _badly_calibrated(result, _federated(result))
    if off:
        said.append(
            f"Expected / observed outside {WELL_CALIBRATED[0]}–{WELL_CALIBRATED[1]} for the federated model: "
            f"{_listed(off)}. Recalibrate there before using its risks as probabilities."
        )
    return said


def _listed(names: list[str]) -> str:
    """Join names; beyond `NAMES_SHOWN` say how many more."""
    more = len(names) - NAMES_SHOWN
    return ", ".join([*names[:NAMES_SHOWN], *([f"and {more} more"] if more > 0 else [])])


def _nodes_better_alone(result: Result) -> list[str]:
    """Nodes whose own private model beats the federated one noticeably."""
    alone, found = result.arms.alone_private, []
    if alone is None:
        return []
    for node in result.nodes:
        ours = _federated(result).per_node.get(node.key)
        own = alone.per_node.get(node.key)
        if ours is None or own is None or ours.auc is None or own.auc is None:
            continue
        if metric_gap(own.auc, ours.auc) >= NOTICEABLE_AUC:
            found.append(f"{node.label} ({metric(own.auc)} against {metric(ours.auc)})")
    return found


def _badly_calibrated(result: Result, arm: Arm) -> list[str]:
    """Nodes where expected / observed leaves the band."""
    low, high = WELL_CALIBRATED
    found = []
    for node in result.nodes:
        score = arm.per_node.get(node.key)
        value = None if score is None else score.expected_over_observed
        if value is not None and not low <= round(value, 2) <= high:
            found.append(f"{node.label} ({ratio(value)})")
    return found


def _privacy_warnings(result: Result) -> list[str]:
    """Warnings about the guarantee."""
    privacy, said = result.privacy, []
    if privacy.epsilon_spent > privacy.epsilon:
        said.append(
            f"More privacy was spent than planned: epsilon {epsilon(privacy.epsilon_spent)} instead of "
            f"{epsilon(privacy.epsilon)}. Only the spent figure holds."
        )
    if privacy.delta * sum(node.declared_persons for node in result.nodes) > 1:
        said.append(
            "Delta exceeds one over the number of persons: the guarantee may fail outright for one person."
        )
    if result.aggregation.scheme is Scheme.CKKS:
        said.append(
            f"Scheme ckks: every {site_noun(result)} holds the key to every upload. Against one of them that "
            "gets hold of uploads, and against the coordinator together with one, only the fallback epsilon "
            f"{epsilon(privacy.fallback_epsilon)} holds."
        )
    if result.aggregation.scheme is Scheme.PLAIN:
        said.append(
            "Scheme plain: uploads were not encrypted and the coordinator could read each one. Against the "
            f"coordinator only the fallback epsilon {epsilon(privacy.fallback_epsilon)} holds."
        )
    return said
