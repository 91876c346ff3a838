"""What follows from a study: allowance, noise, layout, cost. Coordinator and custodians compute it alike.

Nothing here is negotiated: every custodian works it out from the approved bytes and refuses a plan that
says otherwise.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass

from fedmed.aggregation.allowance import default_allowance
from fedmed.aggregation.encoding import Carrier, rehearsal_layout
from fedmed.crypto.ckks_parameters import PAYLOAD_BITS, SLOTS, ckks_set_for, limbs_of
from fedmed.crypto.parameters import RING_DEGREE, parameter_set_for
from fedmed.errors import ConfigError, StudyRefused
from fedmed.messages import Roster
from fedmed.plans.by_kind import stages_for
from fedmed.plans.stage import PLAIN_SET, Ground, Stage, attempts_of, events_of, stage_of
from fedmed.privacy.accounting import epsilon, sampling_delta
from fedmed.privacy.noise import DiscreteGaussian
from fedmed.study import StudySpec
from fedmed.types import Allowance, Layout, OnDropout, PrivacyEvent, RoundKind, Scheme

PLAIN_PAYLOAD_BITS = 62
# One Flower message must stay under this (FLOWER.md section 9: memory and store).
MOST_MESSAGE_BYTES = 200_000_000
# Kept free of delta for what the sampler and its cut may add; `sampling_delta` refuses more than this.
SAMPLING_SHARE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A study worked out.

    Attributes:
        allowance: Who may be missing, and the sets that follow.
        stages: What the rounds compute, in order; `main` is the one that the study's kind names.
        spare_attempts: Attempts beyond one a round, over the whole study; each may fall into any stage.
        epsilon: Planned epsilon, per person; infinite where sums are exact.
        delta: Planned delta; the part that the accounting may use is `accounted_delta`.
    """

    allowance: Allowance
    stages: tuple[Stage, ...]
    spare_attempts: int
    epsilon: float
    delta: float

    @property
    def rounds(self) -> int:
        """Rounds of all stages."""
        return sum(stage.rounds for stage in self.stages)

    @property
    def accounted_delta(self) -> float:
        """Delta less the share kept for the sampler: what PLD accounting is done for."""
        return accounted(self.delta)

    @property
    def planned_events(self) -> tuple[PrivacyEvent, ...]:
        """What the ledger reserves: every stage with all spare attempts; nothing where sums are exact."""
        return tuple(e for stage in self.stages for e in stage.events(stage.rounds + self.spare_attempts))

    def events(self, plans: int) -> tuple[PrivacyEvent, ...]:
        """What that many plans, sent from the first round on, cost; see `fedmed.plans.stage.events_of`."""
        return events_of(self.stages, plans)

    def fallback_epsilon(self, plans: int | None = None) -> float:
        """Epsilon when every other node colludes, so that only this node's own noise protects.

        Args:
            plans: Plans sent; None = everything that is planned.
        """
        planned = tuple(stage.rounds + self.spare_attempts for stage in self.stages)
        attempts = planned if plans is None else attempts_of(self.stages, plans)
        sharers = self.allowance.honest_contributors
        alone = [
            event
            for stage, n in zip(self.stages, attempts, strict=True)
            for event in stage.fallback_events(n, sharers=sharers)
        ]
        return epsilon(alone, self.accounted_delta)

    @property
    def main(self) -> Stage:
        """The first stage but for a count of the persons behind it."""
        return next(stage for stage in self.stages if stage.kind is not RoundKind.SUPPORT)

    @property
    def layout(self) -> Layout:
        """Layout of the main stage."""
        return self.main.layout

    @property
    def noise_multiplier(self) -> float:
        """Of the main stage; 0 where sums are exact."""
        return self.main.noise_multiplier

    @property
    def releases(self) -> int:
        """Releases up to the main stage's last one, which epsilon covers: rounds and all spare attempts."""
        return sum(s.rounds for s in self.stages[: self.stages.index(self.main) + 1]) + self.spare_attempts

    @property
    def bytes_per_value(self) -> float:
        """Of the main stage, see `Stage.bytes_per_value`."""
        return self.main.bytes_per_value


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a plan of a study must say; the same value at the coordinator and at every custodian.

    Attributes:
        study_digest: The study, or the transcript of the ceremony whose rehearsal this is.
        roster: The pinned roster.
        roster_digest: Its digest.
        epoch_id: The key epoch.
        stages: What the rounds compute, in order.
        allowance: Who may be missing.
        spare_attempts: Attempts beyond one a round, over the whole study.
        expires: Last day.
        may_shrink: ``on_dropout = "continue"``.
    """

    study_digest: bytes
    roster: Roster
    roster_digest: bytes
    epoch_id: bytes
    stages: tuple[Stage, ...]
    allowance: Allowance
    spare_attempts: int
    expires: datetime.date
    may_shrink: bool

    @property
    def aggregations(self) -> int:
        """Rounds of the study."""
        return sum(stage.rounds for stage in self.stages)

    @property
    def most_plans(self) -> int:
        """Plans that a custodian accepts in all."""
        return self.aggregations + self.spare_attempts

    @property
    def canaries(self) -> int:
        """Coordinates of the audit block; 0 where no round carries one."""
        return max(stage.canaries for stage in self.stages)

    @property
    def is_rehearsal(self) -> bool:
        """Whether these are the rehearsals of a ceremony."""
        return self.stages[0].kind is RoundKind.REHEARSAL

    def stage(self, round_number: int) -> Stage:
        """What a round computes; raises `ConfigError` for a round that the study does not have."""
        return stage_of(self.stages, round_number)


def accounted(delta: float) -> float:
    """The part of a delta that the accounting may use."""
    return delta * (1 - SAMPLING_SHARE)


def chunk_count(layout: Layout) -> int:
    """Polynomials that the vector takes."""
    return -(-layout.coefficients // RING_DEGREE)


def schedule_for(spec: StudySpec) -> Schedule:
    """Work out a study.

    Args:
        spec: A checked study of any kind.

    Returns:
        Allowance, stages, noise and cost.

    Raises:
        ConfigError: the study cannot be run as written (nodes, noise or size); names the remedy.
    """
    allowance = _allowance(spec)
    name, payload_bits = parameter_set_name(len(spec.nodes), allowance.threshold, spec.aggregation.scheme)
    ground = Ground(
        allowance=allowance,
        carrier=Carrier(nodes=len(spec.nodes), parameter_set=name, payload_bits=payload_bits),
        delta=accounted(spec.privacy.delta),
        homes=spec.privacy.max_nodes_per_person,
    )
    schedule = Schedule(
        allowance=allowance,
        stages=stages_for(spec, ground),
        spare_attempts=spec.spare_attempts,
        epsilon=spec.privacy.epsilon,
        delta=spec.privacy.delta,
    )
    _check_protection(spec, schedule)
    _check_sampling(schedule, nodes=len(spec.nodes))
    _check_size(schedule)
    return schedule


def _check_protection(spec: StudySpec, schedule: Schedule) -> None:
    """A study that claims an epsilon has noise in every sum, one without has it in none."""
    if any((stage.event is None) != spec.privacy.is_exact for stage in schedule.stages):
        raise ConfigError(
            "every stage of a study is exact, or every one has noise: its protection says which"
        )


def _check_size(schedule: Schedule) -> None:
    """Every contribution fits one message."""
    size = max(stage.bytes_per_value * stage.layout.values for stage in schedule.stages)
    if size > MOST_MESSAGE_BYTES:
        raise ConfigError(
            f"one contribution would take {size / 1e6:.0f} MB, at most {MOST_MESSAGE_BYTES / 1e6:.0f} MB "
            "fit one message; make the model smaller or the cells fewer"
        )


def _check_sampling(schedule: Schedule, *, nodes: int) -> None:
    """The sampler's variation over all draws of the study fits into the share of delta kept for it."""
    noisy = [stage for stage in schedule.stages if stage.event is not None]
    if not noisy:
        return
    sampling_delta(
        schedule.epsilon,
        schedule.delta,
        variation_per_draw=max(
            DiscreteGaussian(stage.noise_scale).total_variation_per_draw for stage in noisy
        ),
        draws=nodes * sum(stage.draws * (stage.rounds + schedule.spare_attempts) for stage in noisy),
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
    if scheme is Scheme.CKKS:
        return ckks_set_for(nodes).name, PAYLOAD_BITS
    chosen = parameter_set_for(nodes, threshold)
    return chosen.name, chosen.payload_bits


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
        StudyRefused: the roster lists study owners, and the study's is none of them.
    """
    check_owner(spec, roster)
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
        stages=schedule.stages,
        allowance=schedule.allowance,
        spare_attempts=schedule.spare_attempts,
        expires=spec.expires,
        may_shrink=spec.aggregation.on_dropout is OnDropout.CONTINUE,
    )


def check_owner(spec: StudySpec, roster: Roster) -> None:
    """The study's owner is one that the roster lists; a roster that lists none leaves it open.

    Raises:
        StudyRefused: it is another.
    """
    if roster.owners and spec.owner not in roster.owners:
        raise StudyRefused(
            f"owner: {spec.owner} is not among the roster's study owners, {', '.join(roster.owners)}; name "
            "one of them in the study, or let every province pin a roster that lists it"
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
    roster: Roster, *, digests: tuple[bytes, bytes, bytes], scheme: Scheme, today: datetime.date
) -> Terms:
    """The terms of a ceremony's rehearsals: zero payload, no noise, every node in S, no spare attempt.

    Args:
        roster: The pinned roster.
        digests: Of the transcript, of the roster, and the epoch id.
        scheme: Whose keys are dealt.
        today: The rehearsals' day.
    """
    transcript, roster_digest, epoch_id = digests
    nodes = len(roster.members)
    name, payload_bits = parameter_set_name(nodes, roster.threshold, scheme)
    # A key that all share is right or wrong as a whole, so that one ciphertext shows it.
    values = SLOTS // limbs_of(payload_bits)[0] if scheme is Scheme.CKKS else None
    return Terms(
        study_digest=transcript,
        roster=roster,
        roster_digest=roster_digest,
        epoch_id=epoch_id,
        stages=(
            Stage(
                kind=RoundKind.REHEARSAL,
                rounds=rehearsal_rounds(roster),
                layout=rehearsal_layout(name, payload_bits, values=values),
                clip_norm=1.0,
                event=None,
                input_values=0,
            ),
        ),
        allowance=Allowance(
            planned_contributors=nodes,
            threshold=roster.threshold,
            dropouts=0,
            colluders=0,
            min_contributors=nodes,
        ),
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
