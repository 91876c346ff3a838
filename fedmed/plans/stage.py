"""A stage: rounds of one kind, with everything that coordinator and custodians must agree on about them.

A study is one stage or several in a row, fixed before its first round. Nothing of it is negotiated: every
custodian works the stages out from the approved bytes and refuses a plan that says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from fedmed.aggregation.encoding import Carrier, SumBounds, noisy_layout
from fedmed.errors import ConfigError
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
    """

    allowance: Allowance
    carrier: Carrier
    delta: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """Rounds of one kind.

    Attributes:
        kind: What each of them computes.
        rounds: How many there are at most (>= 1); a program may stop earlier.
        layout: How a sum becomes packed integers.
        clip_norm: L2 bound of what one person adds to a node's sum, in the units of the values.
        event: What one release costs; None where sums are exact: no epsilon, an entry in the ledger.
        input_values: Float64 values that a plan's inputs hold; 0 = none.
        canaries: Last values of the layout that are an audit block, which no real person touches; 0 = none.
    """

    kind: RoundKind
    rounds: int
    layout: Layout
    clip_norm: float
    event: PrivacyEvent | None
    input_values: int
    canaries: int = 0

    def __post_init__(self) -> None:
        require(self.rounds >= 1, f"rounds must be >= 1, got {self.rounds}")
        require(0 <= self.canaries < self.layout.values, "an audit block stands behind the question's values")
        require(self.input_values >= 0, f"input_values must be >= 0, got {self.input_values}")
        check_clip_norm(self.clip_norm)
        require(
            (self.event is None) == (self.layout.noise_scale == 0),
            "a stage has noise and an event, or neither",
        )
        require(self.event is None or self.event.count == 1, "a stage's event is one release")

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
        """Bytes of payload per value, up (contribution) and again for each opening share."""
        if self.layout.parameter_set == PLAIN_SET:
            return float(BYTES_PER_PLAIN_VALUE)
        return RING_BYTES_PER_COEFFICIENT * self.layout.coefficients / self.layout.values

    def events(self, attempts: int) -> tuple[PrivacyEvent, ...]:
        """What that many attempts cost; nothing for none, and nothing where sums are exact."""
        if self.event is None or attempts == 0:
            return ()
        return (PrivacyEvent(noise_multiplier=self.event.noise_multiplier, count=attempts),)


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
        An audit block leaves the sensitivity as it is.

    Raises:
        ConfigError: the numbers do not fit (`fedmed.aggregation.encoding.noisy_layout`).
    """
    if canaries:
        changed = bounds.values if bounds.changed is None else bounds.changed
        bounds = replace(bounds, values=bounds.values + canaries, changed=changed)
    layout = noisy_layout(
        bounds, noise_multiplier=noise_multiplier, allowance=ground.allowance, carrier=ground.carrier
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


def events_of(stages: Sequence[Stage], plans: int) -> tuple[PrivacyEvent, ...]:
    """What that many plans cost, sent from the first round on.

    Args:
        stages: All stages of a study, in order.
        plans: Plans sent, each of them charged.

    Returns:
        One event a stage that releases with noise, in order; as if each round had needed one plan, and every
        plan beyond the rounds had fallen into the costliest stage. For a study with one stage that is what
        the ledger says; for others it errs towards spending more once all rounds are done.
    """
    counts, left = [], plans
    for stage in stages:
        counts.append(min(left, stage.rounds))
        left -= counts[-1]
    costs = [1 / stage.noise_multiplier if stage.event else 0.0 for stage in stages]
    counts[costs.index(max(costs))] += left
    return tuple(event for stage, count in zip(stages, counts, strict=True) for event in stage.events(count))
