"""What follows from a study: allowance, noise, layout, cost. Coordinator and custodians compute it alike.

Nothing here is negotiated: every custodian works it out from the approved bytes and refuses a plan that
says otherwise.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from fedmed.aggregation.allowance import default_allowance
from fedmed.aggregation.encoding import rehearsal_layout, training_layout
from fedmed.crypto.parameters import RING_DEGREE, parameter_set_for
from fedmed.errors import ConfigError
from fedmed.messages import Roster
from fedmed.models.layout import ModelLayout
from fedmed.privacy.accounting import noise_multiplier_for, sampling_delta
from fedmed.privacy.noise import DiscreteGaussian
from fedmed.study import StudySpec
from fedmed.types import Allowance, Layout, OnDropout, PrivacyEvent, RoundKind, Scheme

PLAIN_SET = "plain"
PLAIN_PAYLOAD_BITS = 62
BYTES_PER_COEFFICIENT = 28
BYTES_PER_PLAIN_VALUE = 8
# One Flower message must stay under this (FLOWER.md section 9: memory and store).
MOST_MESSAGE_BYTES = 200_000_000
# Kept free of delta for what the sampler and its cut may add; `sampling_delta` refuses more than this.
SAMPLING_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A study worked out.

    Attributes:
        allowance: Who may be missing, and the sets that follow.
        model: Names and shapes of the model.
        layout: How a clipped sum becomes packed integers.
        noise_multiplier: Noise in the sum that is sure to be there, over the sensitivity.
        releases: Releases that epsilon covers: aggregations and spare attempts.
        epsilon: Planned epsilon, per person.
        delta: Planned delta; the part that the accounting may use is `accounted_delta`.
    """

    allowance: Allowance
    model: ModelLayout
    layout: Layout
    noise_multiplier: float
    releases: int
    epsilon: float
    delta: float

    @property
    def accounted_delta(self) -> float:
        """Delta less the share kept for the sampler: what PLD accounting is done for."""
        return self.delta * (1 - SAMPLING_SHARE)

    @property
    def planned_events(self) -> tuple[PrivacyEvent, ...]:
        """What the ledger reserves."""
        return (PrivacyEvent(noise_multiplier=self.noise_multiplier, count=self.releases),)

    @property
    def bytes_per_value(self) -> float:
        """Bytes of payload per value, up (contribution) and again for each opening share."""
        if self.layout.parameter_set == PLAIN_SET:
            return float(BYTES_PER_PLAIN_VALUE)
        return BYTES_PER_COEFFICIENT * self.layout.coefficients / self.layout.values


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a plan of a study must say; the same value at the coordinator and at every custodian.

    Attributes:
        study_digest: The study, or the transcript of the ceremony whose rehearsal this is.
        roster: The pinned roster.
        roster_digest: Its digest.
        epoch_id: The key epoch.
        kind: What every round computes.
        layout: How values are encoded.
        allowance: Who may be missing.
        aggregations: Rounds of the study.
        spare_attempts: Attempts beyond one a round, over the whole study.
        expires: Last day.
        may_shrink: ``on_dropout = "continue"``.
    """

    study_digest: bytes
    roster: Roster
    roster_digest: bytes
    epoch_id: bytes
    kind: RoundKind
    layout: Layout
    allowance: Allowance
    aggregations: int
    spare_attempts: int
    expires: datetime.date
    may_shrink: bool

    @property
    def most_plans(self) -> int:
        """Plans that a custodian accepts in all."""
        return self.aggregations + self.spare_attempts


def chunk_count(layout: Layout) -> int:
    """Polynomials that the vector takes."""
    return -(-layout.coefficients // RING_DEGREE)


def schedule_for(spec: StudySpec) -> Schedule:
    """Work out a study.

    Args:
        spec: A checked study.

    Returns:
        Allowance, layout, noise and cost.

    Raises:
        ConfigError: the study cannot be run as written (nodes, noise or size); names the remedy.
    """
    if spec.privacy.max_nodes_per_person != 1:
        raise ConfigError(
            "privacy.max_nodes_per_person must be 1: a person trains only where insured (home-node rule); "
            f"got {spec.privacy.max_nodes_per_person}"
        )
    allowance = _allowance(spec)
    model = ModelLayout(kind=spec.model.kind, inputs=spec.dataset_spec.inputs, hidden=spec.model.hidden)
    releases = spec.training.aggregations + spec.training.spare_attempts
    accounted = spec.privacy.delta * (1 - SAMPLING_SHARE)
    noise_multiplier = noise_multiplier_for(spec.privacy.epsilon, accounted, releases)
    schedule = Schedule(
        allowance=allowance,
        model=model,
        layout=_layout(spec, allowance, values=model.size, noise_multiplier=noise_multiplier),
        noise_multiplier=noise_multiplier,
        releases=releases,
        epsilon=spec.privacy.epsilon,
        delta=spec.privacy.delta,
    )
    _check_sampling(schedule, nodes=len(spec.nodes))
    size = schedule.bytes_per_value * model.size
    if size > MOST_MESSAGE_BYTES:
        raise ConfigError(
            f"one contribution would take {size / 1e6:.0f} MB, at most {MOST_MESSAGE_BYTES / 1e6:.0f} MB "
            "fit one message; make the model smaller"
        )
    return schedule


def _check_sampling(schedule: Schedule, *, nodes: int) -> None:
    """The sampler's variation over all draws of the study fits into the share of delta kept for it."""
    sampling_delta(
        schedule.epsilon,
        schedule.delta,
        variation_per_draw=DiscreteGaussian(schedule.layout.noise_scale).total_variation_per_draw,
        draws=schedule.layout.values * schedule.releases * nodes,
    )


def _allowance(spec: StudySpec) -> Allowance:
    """The study's own numbers where it gives them, the protocol's defaults elsewhere."""
    a = spec.aggregation
    return default_allowance(
        len(spec.nodes),
        planned=a.planned_contributors,
        threshold=a.threshold,
        dropouts=a.dropouts,
        colluders=a.colluders,
        min_contributors=a.min_contributors,
    )


def parameter_set_name(nodes: int, threshold: int, scheme: Scheme) -> tuple[str, int]:
    """Name and payload bits of the parameter set for a federation; ``plain`` has no ring."""
    if scheme is Scheme.PLAIN:
        return PLAIN_SET, PLAIN_PAYLOAD_BITS
    chosen = parameter_set_for(nodes, threshold)
    return chosen.name, chosen.payload_bits


def _layout(spec: StudySpec, allowance: Allowance, *, values: int, noise_multiplier: float) -> Layout:
    """The training layout of a study."""
    name, payload_bits = parameter_set_name(len(spec.nodes), allowance.threshold, spec.aggregation.scheme)
    return training_layout(
        values=values,
        clip_norm=spec.privacy.clip_norm,
        clamp_persons=spec.aggregation.clamp_persons,
        max_persons=max(spec.data.declared_persons.values()),
        noise_multiplier=noise_multiplier,
        allowance=allowance,
        nodes=len(spec.nodes),
        parameter_set_name=name,
        payload_bits=payload_bits,
    )


def terms_for(
    spec: StudySpec, schedule: Schedule, roster: Roster, *, digests: tuple[bytes, bytes, bytes]
) -> Terms:
    """The terms of a study under a roster and an epoch.

    Args:
        spec: The study.
        schedule: `schedule_for` of it.
        roster: The pinned roster; its names must be the study's nodes in order.
        digests: Of the study, of the roster, and the epoch id.

    Raises:
        ConfigError: roster and study do not name the same nodes, thresholds or colluders, or a sum could
            hold one province among colluders.
    """
    names = tuple(m.name for m in roster.members)
    if names != spec.nodes:
        raise ConfigError(
            f"the roster's nodes {', '.join(names)} are not the study's {', '.join(spec.nodes)}"
        )
    if roster.threshold != schedule.allowance.threshold or roster.colluders < schedule.allowance.colluders:
        raise ConfigError("the study's threshold and colluders do not fit the roster's")
    check_company(roster, schedule.allowance)
    study, roster_id, epoch_id = digests
    return Terms(
        study_digest=study,
        roster=roster,
        roster_digest=roster_id,
        epoch_id=epoch_id,
        kind=RoundKind.TRAINING,
        layout=schedule.layout,
        allowance=schedule.allowance,
        aggregations=spec.training.aggregations,
        spare_attempts=spec.training.spare_attempts,
        expires=spec.expires,
        may_shrink=spec.aggregation.on_dropout is OnDropout.CONTINUE,
    )


def check_company(roster: Roster, allowance: Allowance) -> None:
    """Every sum holds two provinces beside the roster's colluders, however few the study reckons with.

    A study may lower ``colluders`` for its noise; it must not make the sets so small that a province is
    alone in one with those whom its operator's roster counts as colluders.
    """
    least = roster.colluders + 2
    if allowance.least_set < least:
        raise ConfigError(
            f"a sum of {allowance.least_set} contributors could hold one province and the roster's "
            f"{roster.colluders} colluders: raise min_contributors to {least} or lower dropouts"
        )


def rehearsal_terms(
    roster: Roster, *, roster_digest: bytes, epoch_id: bytes, transcript: bytes, today: datetime.date
) -> Terms:
    """The terms of a ceremony's rehearsals: zero payload, no noise, every node in S, no spare attempt."""
    nodes = len(roster.members)
    name, payload_bits = parameter_set_name(nodes, roster.threshold, Scheme.THRESHOLD)
    return Terms(
        study_digest=transcript,
        roster=roster,
        roster_digest=roster_digest,
        epoch_id=epoch_id,
        kind=RoundKind.REHEARSAL,
        layout=rehearsal_layout(name, payload_bits),
        allowance=Allowance(
            planned_contributors=nodes,
            threshold=roster.threshold,
            dropouts=0,
            colluders=0,
            min_contributors=nodes,
        ),
        aggregations=rehearsal_rounds(roster),
        spare_attempts=0,
        expires=today + datetime.timedelta(days=1),
        may_shrink=False,
    )


def rehearsal_rounds(roster: Roster) -> int:
    """Rehearsals whose openers together cover all custodians: ceil(n / t)."""
    return -(-len(roster.members) // roster.threshold)


def rehearsal_openers(roster: Roster, round_number: int) -> tuple[int, ...]:
    """T of one rehearsal: consecutive points, wrapping around, so that all of them answer once."""
    n, t = len(roster.members), roster.threshold
    return tuple(sorted((((round_number - 1) * t + i) % n) + 1 for i in range(t)))
