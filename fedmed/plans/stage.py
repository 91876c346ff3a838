"""A stage: rounds of one kind, with everything that coordinator and custodians must agree on about them.

A study is one stage or several in a row, fixed before its first round. Nothing of it is negotiated: every
custodian works the stages out from the approved bytes and refuses a plan that says otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fedmed.aggregation.encoding import LEAST_NOISE_SCALE, Carrier, SumBounds, noisy_layout
from fedmed.crypto.ckks_parameters import CIPHERTEXT_BYTES, CKKS_SETS, ciphertexts_for
from fedmed.errors import ConfigError
from fedmed.privacy.accounting import fallback_noise_multiplier
from fedmed.privacy.clipping import check_clip_norm
from fedmed.types import Allowance, Layout, PrivacyEvent, RoundKind, require

RING_BYTES_PER_COEFFICIENT = 28
BYTES_PER_PLAIN_VALUE = 8
PLAIN_SET = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a plan stands on, whatever the study asks.

    Attributes:
        allowance: Who may be missing.
        carrier: What carries the sums.
        delta: What the accounting may use.
        homes: Nodes at which one person may appear (>= 1).
    """

    allowance: Allowance
    carrier: Carrier
    delta: float
    homes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalNoise:
    """Noise that a node puts into its answer by itself, before the sum: mode ``local``.

    Attributes:
        steps: Gradient sums with noise in one answer, each on a sample of its own.
        clip_norm: L2 bound of one person's part of such a sum.
        grid: Step of the integer grid on which noise is drawn, in the units of ``clip_norm``.
        scale: Of the noise of one sum, in grid steps; all of it, for a node here trusts nobody else's.
    """

    steps: int
    clip_norm: float
    grid: float
    scale: float

    def __post_init__(self) -> None:
        require(self.steps >= 1, f"steps must be >= 1, got {self.steps}")
        check_clip_norm(self.clip_norm)
        require(self.scale >= LEAST_NOISE_SCALE, f"scale must be >= {LEAST_NOISE_SCALE}, got {self.scale}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Rounds of one kind.

    Attributes:
        kind: What each of them computes.
        rounds: How many there are at most (>= 1); a program may stop earlier.
        layout: How a sum becomes packed integers.
        clip_norm: L2 bound of what one person adds to a node's sum, in the units of the values; where the
            noise is inside the answers, of a node's whole answer.
        event: What one release costs; None where sums are exact: no epsilon, an entry in the ledger.
        input_values: Float64 values that a plan's inputs hold; 0 = none.
        canaries: Last values of the layout that are an audit block, which no real person touches; 0 = none.
        local: Noise inside each node's answer; None where custodians add it to the sum, or there is none.
    """

    kind: RoundKind
    rounds: int
    layout: Layout
    clip_norm: float
    event: PrivacyEvent | None
    input_values: int
    canaries: int = 0
    local: LocalNoise | None = None

    def __post_init__(self) -> None:
        require(self.rounds >= 1, f"rounds must be >= 1, got {self.rounds}")
        require(0 <= self.canaries < self.layout.values, "an audit block stands behind the question's values")
        require(self.input_values >= 0, f"input_values must be >= 0, got {self.input_values}")
        check_clip_norm(self.clip_norm)
        has_noise = self.layout.noise_scale > 0 or self.local is not None
        require((self.event is None) != has_noise, "a stage has noise and an event, or neither")
        if self.local is None:
            once = self.event is None or (self.event.count, self.event.sample_rate) == (1, 1.0)
            require(once, "a stage's event is one release")
        else:
            require(self.layout.noise_scale == 0, "noise inside the answers needs none on the sum")
            least = 0 if self.event is None else self.event.count
            require(least >= self.local.steps, "a stage's event counts every local step")

    @property
    def noise_multiplier(self) -> float:
        """Noise that is sure to be in the sum, over the sensitivity; 0 where sums are exact."""
        return 0.0 if self.event is None else self.event.noise_multiplier

    @property
    def answer_values(self) -> int:
        """Values that answer the question: those of the layout without the audit block."""
        return self.layout.values - self.canaries

    @property
    def bytes_per_value(self) -> float:
        """Bytes of payload per value, up (contribution), and for each opening again: up, in ``ckks`` down."""
        if self.layout.parameter_set == PLAIN_SET:
            return float(BYTES_PER_PLAIN_VALUE)
        if self.layout.parameter_set in CKKS_SETS:
            whole = ciphertexts_for(self.layout.values, self.layout.field_bits)
            return CIPHERTEXT_BYTES * whole / self.layout.values
        return RING_BYTES_PER_COEFFICIENT * self.layout.coefficients / self.layout.values

    def events(self, attempts: int) -> tuple[PrivacyEvent, ...]:
        """What that many attempts cost; nothing for none, and nothing where sums are exact."""
        if self.event is None or attempts == 0:
            return ()
        return (replace(self.event, count=attempts * self.event.count),)

    def fallback_events(self, attempts: int, *, sharers: int) -> tuple[PrivacyEvent, ...]:
        """What that many attempts cost when every other node colludes.

        Args:
            attempts: As in `events`.
            sharers: Nodes that the noise on a sum is shared by; noise inside an answer is a node's own.
        """
        if self.local is not None:
            return self.events(attempts)
        return tuple(
            replace(event, noise_multiplier=fallback_noise_multiplier(event.noise_multiplier, sharers))
            for event in self.events(attempts)
        )

    @property
    def person_clip_norm(self) -> float:
        """L2 bound of one person's part of a sum that noise is added to at one node."""
        return self.clip_norm if self.local is None else self.local.clip_norm

    @property
    def noise_scale(self) -> float:
        """Scale of the discrete Gaussian that one node draws from, in grid steps; 0 where sums are exact."""
        return self.layout.noise_scale if self.local is None else self.local.scale

    @property
    def draws(self) -> int:
        """Noise values that one node draws for one attempt."""
        return self.layout.values * (1 if self.local is None else self.local.steps)


def noisy_stage(
    kind: RoundKind,
    bounds: SumBounds,
    ground: Ground,
    *,
    noise_multiplier: float,
    rounds: int = 1,
    input_values: int = 0,
    canaries: int = 0,
) -> Stage:
    """A stage whose sums carry noise.

    Args:
        kind: What each round computes.
        bounds: What is public about a node's sum.
        ground: What the plan stands on.
        noise_multiplier: Noise that is sure to be in the sum, over the sensitivity.
        rounds: As `Stage.rounds`.
        input_values: As `Stage.input_values`.
        canaries: As `Stage.canaries`: coordinates behind those of ``bounds``.

    Guarantees:
        An audit block leaves the sensitivity as it is. A person at ``ground.homes`` nodes, with a part
        inside ``bounds.clip_norm`` at each, is covered.

    Raises:
        ConfigError: the numbers do not fit (`fedmed.aggregation.encoding.noisy_layout`).
    """
    if canaries:
        changed = bounds.values if bounds.changed is None else bounds.changed
        bounds = replace(bounds, values=bounds.values + canaries, changed=changed)
    layout = noisy_layout(
        replace(bounds, homes=ground.homes),
        noise_multiplier=noise_multiplier,
        allowance=ground.allowance,
        carrier=ground.carrier,
    )
    return Stage(
        kind=kind,
        rounds=rounds,
        layout=layout,
        clip_norm=bounds.clip_norm,
        event=PrivacyEvent(noise_multiplier=noise_multiplier),
        input_values=input_values,
        canaries=canaries,
    )


def stage_of(stages: Sequence[Stage], round_number: int) -> Stage:
    """The stage that a round belongs to.

    Args:
        stages: All stages of a study, in order.
        round_number: From 1, counted through all stages.

    Raises:
        ConfigError: the study has no such round.
    """
    last = 0
    for stage in stages:
        last += stage.rounds
        if 1 <= round_number <= last:
            return stage
    raise ConfigError(f"round_number must be in 1..{last}, got {round_number}")


def attempts_of(stages: Sequence[Stage], plans: int) -> tuple[int, ...]:
    """How many attempts of each stage that many plans are, sent from the first round on.

    Args:
        stages: All stages of a study, in order.
        plans: Plans sent, each of them charged.

    Returns:
        One number a stage, in order; as if each round had needed one plan, and every plan beyond the rounds
        had fallen into the costliest stage. For a study with one stage that is what the ledger says; for
        others it errs towards spending more once all rounds are done.
    """
    counts, left = [], plans
    for stage in stages:
        counts.append(min(left, stage.rounds))
        left -= counts[-1]
    costs = [_cost(stage.event) for stage in stages]
    counts[costs.index(max(costs))] += left
    return tuple(counts)


def events_of(stages: Sequence[Stage], plans: int) -> tuple[PrivacyEvent, ...]:
    """What that many plans cost, sent from the first round on and shared out by `attempts_of`.

    Args:
        stages: All stages of a study, in order.
        plans: Plans sent, each of them charged.

    Returns:
        One event a stage that releases with noise, in order.
    """
    attempts = attempts_of(stages, plans)
    return tuple(event for stage, n in zip(stages, attempts, strict=True) for event in stage.events(n))


def _cost(event: PrivacyEvent | None) -> float:
    """Leading term of the divergence of one attempt, to compare stages by."""
    if event is None:
        return 0.0
    return event.count * event.sample_rate**2 * math.expm1(min(700.0, 1 / event.noise_multiplier**2))


def require_one_home(homes: int, *, because: str) -> None:
    """Refuse a study in which rows of one person may lie at several nodes.

    Args:
        homes: ``privacy.max_nodes_per_person``.
        because: Why this kind of study cannot have it, one clause.

    Raises:
        ConfigError: it is not 1; says why, and what to do.
    """
    require(
        homes == 1,
        f"privacy.max_nodes_per_person must be 1, got {homes}: {because}, and no node can see that another "
        "holds the same person. Let a person's rows lie at the node where the person is insured (feature "
        "sets and first stays are so made) and write 1, or ask by statistics with noise, which allow more",
    )
