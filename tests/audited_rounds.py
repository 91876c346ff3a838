"""Rounds with an audit block, without custodians or encryption: the real kernel, noise and encoding.

A fault is a wrong implementation in the place of a right one: of what clips (`ClipSum`), or of what draws
noise (`DrawNoise`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from fedmed.aggregation.allowance import default_allowance
from fedmed.aggregation.encoding import Carrier, SumBounds, encode
from fedmed.data.examples import Examples
from fedmed.models.canary_rows import ClipSum, canary_sum
from fedmed.models.gradients import clipped_gradient_sum
from fedmed.models.layout import ModelLayout, PersonClip
from fedmed.plans.stage import Ground, Stage, noisy_stage
from fedmed.privacy.canaries import Coins, bytes_for, coins_from, owned
from fedmed.privacy.clipping import ClippedSum
from fedmed.privacy.noise import insecure_source, noise_share
from fedmed.programs.audited import Claim
from fedmed.programs.contract import OpenedSum, decoded
from fedmed.types import FloatArray, IntArray, Layout, RoundKind, WordArray

NODES, ROUNDS, CANARIES, CLIP, MODEL_VALUES = 4, 6, 400, 1.5, 3
CLAIM = Claim(epsilon=8.0, delta=1e-5, dropouts=1)

DrawNoise = Callable[[Layout, int, int, int], IntArray]
"""Layout, seed, round and point in, one node's noise out."""


def audited_stage(canaries: int = CANARIES) -> Stage:
    """Training rounds of a tiny model; the noise of all nodes together is about 2.8 clip norms."""
    ground = Ground(
        allowance=default_allowance(NODES),
        carrier=Carrier(nodes=NODES, parameter_set="plain", payload_bits=62),
        delta=1e-5,
    )
    bounds = SumBounds(values=MODEL_VALUES, clip_norm=CLIP, clamp_persons=1000, max_persons=1000)
    return noisy_stage(
        RoundKind.TRAINING, bounds, ground, noise_multiplier=2.0, rounds=ROUNDS, canaries=canaries
    )


def clipped(parameters: FloatArray, rows: Examples, model: ModelLayout, clip: PersonClip) -> ClippedSum:
    """The kernel."""
    return clipped_gradient_sum(parameters, rows, layout=model, clip=clip)


def fresh(layout: Layout, seed: int, round_number: int, point: int) -> IntArray:
    """A share that is right, repeatable by its seed."""
    source = insecure_source(1_000_000 * seed + 1_000 * round_number + point)
    return noise_share(layout.noise_scale, layout.values, source=lambda: source)


def coins_of(seed: int, canaries: int = CANARIES) -> dict[int, Coins]:
    """Every node's coins."""
    rng = np.random.default_rng(seed)
    found = {}
    for point in range(1, NODES + 1):
        own = owned(canaries, point, nodes=NODES)
        count = own.stop - own.start
        found[point] = coins_from(rng.bytes(bytes_for(count)), count)
    return found


def audited_rounds(
    coins: Mapping[int, Coins], *, seed: int, clip_sum: ClipSum = clipped, noise: DrawNoise = fresh
) -> list[OpenedSum]:
    """All opened sums of a study whose model stands still."""
    stage, clip = audited_stage(), PersonClip(norm=CLIP, rows="mean")
    blocks = {p: canary_sum(c.present, clip=clip, clip_sum=clip_sum) for p, c in coins.items()}
    opened = []
    for round_number in range(1, ROUNDS + 1):
        total: WordArray = np.zeros(stage.layout.values, dtype=np.uint64)
        for point, block in blocks.items():
            values = np.zeros(stage.layout.values)
            own = owned(stage.canaries, point, nodes=NODES)
            values[MODEL_VALUES + own.start : MODEL_VALUES + own.stop] = block
            share = noise(stage.layout, seed, round_number, point)
            answer = ClippedSum(values=values, clip_norm=CLIP)
            total += encode(answer, share, stage.layout, clip_norm=stage.clip_norm)
        values = decoded(total, stage, contributors=len(blocks))
        opened.append(
            OpenedSum(stage=stage, round_number=round_number, values=values, contributors=tuple(blocks))
        )
    return opened


# --- Wrong implementations, one fault each -----------------------------------------------------------------


def no_noise(layout: Layout, seed: int, round_number: int, point: int) -> IntArray:
    """Nobody draws."""
    return np.zeros(layout.values, dtype=np.int64)


def half_the_noise(layout: Layout, seed: int, round_number: int, point: int) -> IntArray:
    """Half the scale."""
    return fresh(replace(layout, noise_scale=layout.noise_scale / 2), seed, round_number, point)


def noise_for_the_mean(layout: Layout, seed: int, round_number: int, point: int) -> IntArray:
    """Noise of a mean over a thousand persons, added to their sum."""
    return fresh(replace(layout, noise_scale=layout.noise_scale / 1000), seed, round_number, point)


def same_every_round(layout: Layout, seed: int, round_number: int, point: int) -> IntArray:
    """A generator that is seeded anew for each round."""
    return fresh(layout, seed, 0, point)


def missing_share(layout: Layout, seed: int, round_number: int, point: int) -> IntArray:
    """One node of four draws nothing."""
    draw = no_noise if point == NODES else fresh
    return draw(layout, seed, round_number, point)


def not_clipped(parameters: FloatArray, rows: Examples, model: ModelLayout, clip: PersonClip) -> ClippedSum:
    """Gradients as they are."""
    unbounded = clipped(parameters, rows, model, replace(clip, norm=1e30))
    return ClippedSum(values=unbounded.values.copy(), clip_norm=clip.norm)


def clipped_by_batch(
    parameters: FloatArray, rows: Examples, model: ModelLayout, clip: PersonClip
) -> ClippedSum:
    """The mean gradient is clipped, not each person's."""
    mean = not_clipped(parameters, rows, model, clip).values / rows.persons
    bounded = mean * min(1.0, clip.norm / float(np.linalg.norm(mean)))
    return ClippedSum(values=bounded * rows.persons, clip_norm=clip.norm)


def clipped_by_record(
    parameters: FloatArray, rows: Examples, model: ModelLayout, clip: PersonClip
) -> ClippedSum:
    """Every record passes for a person of its own."""
    alone = replace(rows, person_starts=np.arange(rows.rows + 1, dtype=np.int64))
    return clipped(parameters, alone, model, clip)


WRONG_NOISE: Mapping[str, tuple[DrawNoise, str]] = {
    "no noise": (no_noise, "noise_scale"),
    "half the noise": (half_the_noise, "noise_scale"),
    "noise for the mean on the sum": (noise_for_the_mean, "noise_scale"),
    "the same noise every round": (same_every_round, "freshness"),
    "a missing share": (missing_share, "noise_scale"),
}
WRONG_CLIPPING: Mapping[str, tuple[ClipSum, str]] = {
    "no clipping": (not_clipped, "canary_size"),
    "clipping by batch": (clipped_by_batch, "canary_size"),
    "clipping by record": (clipped_by_record, "canary_size"),
}
