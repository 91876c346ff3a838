"""The coordinator's half of each scheme, by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from fedmed.aggregation.ckks_coordinator import CkksCombiner
from fedmed.aggregation.contract import Combiner
from fedmed.aggregation.plain_coordinator import PlainCombiner
from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.types import Layout, Scheme


def combiner_for(scheme: Scheme) -> Callable[[Layout], Combiner]:
    """What makes an empty running sum of a scheme for a layout."""
    match scheme:
        case Scheme.THRESHOLD:
            return ThresholdCombiner
        case Scheme.CKKS:
            return CkksCombiner
        case Scheme.PLAIN:
            return PlainCombiner
        case _:
            assert_never(scheme)
