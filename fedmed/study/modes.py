"""Modes of a training study: what each needs of the file, beside mode ``aggregate``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field

from fedmed.study.sections import Table
from fedmed.types import Mode

LOCAL_AGGREGATIONS = 10
"""Rounds of a study in mode ``local`` that does not say."""

STATISTICS_SPARE_ATTEMPTS = 1
"""Of a study of one round that does not say: a lost opener must not cost a whole new study."""

MOST_MOMENT_INPUTS = 1000
"""Of mode ``statistics``, which sums a triangle of as many rows: half a million values."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class LocalTable(Table):
    """``[local]``: how a node trains by itself between two sums; only in mode ``local``.

    A step is that of ``[training]`` (rate, momentum) on the node's own sum with the whole noise; the momentum
    starts anew each round.

    Attributes:
        steps: Local steps a round, 1 to 1000.
        sample_rate: Chance, in (0, 1], that one person is in the batch of a step; the same at every node.
        update_clip: Bound > 0 of a node's update, new minus old parameters. It protects nobody: it keeps one
            node from outweighing the others.
        server: ``average`` adds the mean update; ``adam`` takes it for a gradient (FedAdam).
        server_learning_rate: > 0; 1 is the plain mean, ``adam`` wants about 0.1.
    """

    steps: Annotated[int, Field(ge=1, le=1000)] = 5
    sample_rate: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.2
    update_clip: Positive = 10.0
    server: Literal["average", "adam"] = "average"
    server_learning_rate: Positive = 1.0


def mode_of(document: Mapping[str, object]) -> Mode:
    """Mode of an unchecked training study; ``aggregate`` where it names none or nonsense."""
    privacy = document.get("privacy")
    named = privacy.get("mode") if isinstance(privacy, Mapping) else None
    return Mode(named) if named in [mode.value for mode in Mode] else Mode.AGGREGATE


def mode_defaults(mode: Mode) -> dict[str, dict[str, object]]:
    """Defaults that differ from those of mode ``aggregate``, by section."""
    if mode is Mode.LOCAL:
        return {"local": {}, "training": {"aggregations": LOCAL_AGGREGATIONS}}
    if mode is Mode.STATISTICS:
        return {"training": {"aggregations": 1, "spare_attempts": STATISTICS_SPARE_ATTEMPTS}}
    return {}
