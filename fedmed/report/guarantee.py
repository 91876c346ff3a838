"""What is protected, who can see and open what, and what the report does not show: all in plain words."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, assert_never

from fedmed.report.findings import site_noun
from fedmed.report.result import Result
from fedmed.report.units import count, delta, epsilon, plural
from fedmed.types import Mode, Scheme

FACTOR_WORTH_SAYING = 1000.0
"""Above this factor of odds a number means nothing to a reader."""

Verdict = Literal["no", "part", "yes", "exposed"]
"""``yes`` is meant to be; ``exposed`` is a yes that only the fallback epsilon covers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fact:
    """One figure of the privacy statement: its name, its value and what it means."""

    name: str
    value: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """Whether one audience sees one thing: the verdict, and the words beside it (may be empty)."""

    verdict: Verdict
    words: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SightTable:
    """Who can see what.

    Attributes:
        audiences: Column heads.
        rows: A thing and one `Sight` for each audience.
    """

    audiences: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Sight, ...]], ...]


def privacy_statement(result: Result) -> tuple[str, ...]:
    """Say the guarantee in sentences for people who do not know the symbols.

    Guarantees:
        Epsilon planned and spent, delta, the unit, homes, dropouts, colluders and the fallback epsilon
        appear in every statement.
    """
    privacy = result.privacy
    factor = math.exp(min(privacy.epsilon_spent, 50.0))
    odds = f"a factor of {factor:.1f}" if factor < FACTOR_WORTH_SAYING else "a factor too large to mean much"
    return (
        f"Protected is one insured person with all their rows. Whether or not any one of them takes part "
        f"changes the odds of anything that a reader of the model could infer by at most {odds}: epsilon "
        f"{epsilon(privacy.epsilon_spent)} was spent of {epsilon(privacy.epsilon)} planned. The guarantee "
        f"may fail with a chance of delta {delta(privacy.delta)}.",
        _homes(result),
        *_company(result),
    )


def _company(result: Result) -> tuple[str, str]:
    """What lost and colluding nodes do to the guarantee."""
    privacy, noun = result.privacy, site_noun(result)
    dropouts, colluders = plural(privacy.dropouts, "dropout"), plural(privacy.colluders, "colluder")
    fallback = f"{epsilon(privacy.fallback_epsilon)} holds (the fallback epsilon)."
    alone = when_alone(result)
    if privacy.mode is Mode.LOCAL:
        return (
            f"Every {noun} adds all of the noise by itself. The secure sum, made for up to {dropouts} and up "
            f"to {colluders} among the {count(len(result.nodes))} {noun}s, hides single updates besides; the "
            "guarantee does not count on it.",
            f"{alone[0].upper()}{alone[1:]}, epsilon {fallback}",
        )
    return (
        f"This holds with up to {dropouts} and up to {colluders} among the {count(len(result.nodes))} "
        f"{noun}s: noise that is lost or known to an attacker is not counted.",
        f"{alone[0].upper()}{alone[1:]}, only the noise of a person's own {noun} is left. Then epsilon "
        f"{fallback}",
    )


def when_alone(result: Result) -> str:
    """When only the noise of a person's own node is left, so that the fallback epsilon holds."""
    noun = site_noun(result)
    key = f", or one {noun} uses the key that all hold" if _shares_a_key(result) else ""
    return f"if all other {noun}s collude{key}"


def _shares_a_key(result: Result) -> bool:
    """Whether one key, which every province holds, opens every upload."""
    return result.aggregation.scheme is Scheme.CKKS


def privacy_facts(result: Result) -> tuple[Fact, ...]:
    """List every figure of the guarantee with its meaning, the RDP figure where it is known."""
    p, noun = result.privacy, site_noun(result)
    attempts = result.aggregation.attempts
    repeats = attempts - result.aggregation.aggregations
    again = f", {repeats} of them repeated" if repeats else ""
    facts = [
        Fact(
            name="Epsilon planned",
            value=epsilon(p.epsilon),
            meaning="all aggregations and spare attempts; PLD",
        ),
        Fact(
            name="Epsilon spent",
            value=epsilon(p.epsilon_spent),
            meaning=f"{plural(attempts, 'attempt')} charged{again}; PLD",
        ),
    ]
    if p.epsilon_rdp is not None:
        facts.append(
            Fact(
                name="Epsilon by RDP",
                value=epsilon(p.epsilon_rdp),
                meaning="the same attempts by a second, looser accountant",
            )
        )
    facts += [
        Fact(
            name="Fallback epsilon",
            value=epsilon(p.fallback_epsilon),
            meaning=when_alone(result),
        ),
        Fact(name="Delta", value=delta(p.delta), meaning="chance that the guarantee fails"),
        Fact(name="Unit", value=p.unit, meaning="one insured person, all rows; add or remove one"),
        Fact(
            name="Homes (k)",
            value=str(p.max_nodes_per_person),
            meaning=f"{noun}s that may hold rows of one person",
        ),
        Fact(name="Dropouts", value=str(p.dropouts), meaning="nodes that may be lost"),
        Fact(name="Colluders", value=str(p.colluders), meaning="nodes whose noise an attacker may know"),
        Fact(
            name="Noise multiplier",
            value=f"{p.noise_multiplier:.2f}",
            meaning="noise that is sure to be in a sum, over the sensitivity",
        ),
        Fact(name="Clip norm", value=f"{p.clip_norm:g}", meaning="bound of one person's gradient"),
    ]
    return tuple(facts)


def sight_table(result: Result) -> SightTable:
    """Say who can see and open what under the result's scheme (PROTOCOL.md section 7)."""
    scheme = result.aggregation.scheme
    match scheme:
        case Scheme.THRESHOLD:
            return _threshold_table(result)
        case Scheme.CKKS:
            return _ckks_table(result)
        case Scheme.PLAIN:
            return _plain_table(result)
        case _:  # a new scheme has no row until somebody has thought about it
            assert_never(scheme)


def limits(result: Result) -> tuple[str, ...]:
    """Say what this report does not show."""
    noun = site_noun(result)
    said = []
    if result.data is not None and result.data.synthetic:
        said.append(
            "The data are synthetic: they show what the method does, "
            "not what claims in these places look like."
        )
    if result.simulation:
        said.append(
            "This is a simulation: every node ran on one machine, so times hold no network "
            "and no waiting for people."
        )
        said.append(
            f"Figures marked † are known in a simulation only: exact scores per {noun} and the arms that "
            "train elsewhere. A deployment learns its scores from noisy histograms, which cost budget."
        )
    if result.arms.federated is not None:
        said.append(
            "One run with one draw of noise: repeat it with other seeds before relying on a third digit, and "
            "do not choose settings by these scores, since they were not charged for."
        )
    said.append(
        f"Differential privacy bounds what is learnt about a person. It hides neither the general level of a "
        f"{noun} nor an error in the model, and it promises nothing about fairness."
    )
    if result.aggregation.scheme.has_keys:
        said.append(
            "There is no formal proof of the protocol's composition and no outside cryptographer has read it "
            "yet (SECURITY.md)."
        )
    if _shares_a_key(result):
        said.append(
            f"Scheme ckks is for comparison: every {noun} holds the one key and can open any upload that it "
            f"gets hold of; the coordinator with one {noun} opens everything (SECURITY.md)."
        )
    return tuple(said)


def _homes(result: Result) -> str:
    """At how many nodes one person's rows may lie."""
    homes, noun = result.privacy.max_nodes_per_person, site_noun(result)
    if homes == 1:
        return f"A person trains at one {noun} only, the one that insures them (homes k = 1)."
    if result.privacy.mode is Mode.LOCAL:
        return (
            f"A person's rows may lie at up to {homes} {noun}s (homes k = {homes}): the steps of all of them "
            "are counted."
        )
    return (
        f"A person's rows may lie at up to {homes} {noun}s (homes k = {homes}): each bounds them to its part "
        "of the clip, so that together they stay inside one person's bound."
    )


def _audiences(result: Result, quorum: str) -> tuple[str, ...]:
    """Column heads."""
    noun, colluders = site_noun(result), result.privacy.colluders
    with_colluders = f"Coordinator with {plural(colluders, noun)}" if colluders else f"One other {noun}"
    return (f"The {noun} itself", "Coordinator", with_colluders, quorum, "Reader of the model")


def _shared_rows(noun: str) -> tuple[tuple[str, tuple[Sight, ...]], ...]:
    """Rows that are the same under every scheme: persons' rows, and the opened sum."""
    no, own = Sight(verdict="no"), Sight(verdict="part", words="only their own")
    summed = (
        Sight(verdict="yes", words="follows from the parameters"),
        Sight(verdict="yes", words="once an attempt"),
        Sight(verdict="yes"),
        Sight(verdict="yes"),
        Sight(verdict="no", words="only the model"),
    )
    return (
        ("Rows of insured persons", (Sight(verdict="yes"), no, own, own, no)),
        (f"The sum over the {noun}s, with noise", summed),
    )


def _last_rows() -> tuple[tuple[str, tuple[Sight, ...]], ...]:
    """Rows about the model and about traffic."""
    yes = Sight(verdict="yes")
    return (
        ("The model", (yes, yes, yes, yes, yes)),
        (
            "Sizes, timing, refusals",
            (Sight(verdict="part", words="its own"), yes, yes, own_only(), Sight(verdict="no")),
        ),
    )


def own_only() -> Sight:
    """Each sees its own."""
    return Sight(verdict="part", words="only their own")


def _threshold_table(result: Result) -> SightTable:
    """Nobody holds a key; shares of ``threshold`` custodians open one agreed sum."""
    noun, t, c = site_noun(result), result.aggregation.threshold, result.privacy.colluders
    no = Sight(verdict="no")
    behind_noise = Sight(verdict="exposed", words="behind its own noise only: fallback epsilon")
    held = f"{plural(c, 'share')}: opens nothing" if c == 1 else f"{plural(c, 'share')}: open nothing"
    upload = (
        Sight(verdict="yes", words="its own"),
        Sight(verdict="no", words="ciphertext"),
        Sight(verdict="no", words="ciphertext"),
        behind_noise,
        no,
    )
    keys = (
        Sight(verdict="part", words="1 share: opens nothing"),
        Sight(verdict="no", words="none"),
        Sight(verdict="part", words=held if c else "1 share: opens nothing"),
        Sight(verdict="exposed", words="open any upload"),
        Sight(verdict="no", words="none"),
    )
    rows, (summed, *rest) = _shared_rows(noun)[0], (_shared_rows(noun)[1], *_last_rows())
    return SightTable(
        audiences=_audiences(result, f"{t} {noun}s together"),
        rows=(rows, (f"One {noun}'s upload, opened", upload), summed, ("Key shares", keys), *rest),
    )


def _ckks_table(result: Result) -> SightTable:
    """Every province holds the key; custodians open nothing but the sum over the agreed set."""
    noun = site_noun(result)
    no, none = Sight(verdict="no"), Sight(verdict="no", words="none")
    whole = Sight(verdict="exposed", words="the whole key: opens any upload")
    opened = Sight(verdict="exposed", words="behind its own noise only: fallback epsilon")
    reached = Sight(verdict="exposed", words="any that it gets hold of: fallback epsilon")
    upload = (
        Sight(verdict="yes", words="its own"),
        Sight(verdict="no", words="ciphertext"),
        opened,
        reached,
        no,
    )
    first, summed = _shared_rows(noun)
    return SightTable(
        audiences=(
            f"The {noun} itself",
            "Coordinator",
            f"Coordinator with any one {noun}",
            f"Any other {noun}",
            "Reader of the model",
        ),
        rows=(
            first,
            (f"One {noun}'s upload, opened", upload),
            summed,
            ("The key", (whole, none, whole, whole, none)),
            *_last_rows(),
        ),
    )


def _plain_table(result: Result) -> SightTable:
    """Nothing is encrypted: the coordinator reads every upload."""
    noun = site_noun(result)
    read = Sight(verdict="exposed", words="behind its own noise only: fallback epsilon")
    colluding = read if result.privacy.colluders else Sight(verdict="no")
    upload = (Sight(verdict="yes", words="its own"), read, colluding, read, Sight(verdict="no"))
    none = Sight(verdict="no", words="none exist")
    first, summed = _shared_rows(noun)
    return SightTable(
        audiences=_audiences(result, f"All other {noun}s together"),
        rows=(
            first,
            (f"One {noun}'s upload", upload),
            summed,
            ("Key shares", (none, none, none, none, none)),
            *_last_rows(),
        ),
    )
