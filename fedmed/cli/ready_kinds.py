"""Kinds of studies that ``fedmed study new`` writes; apart, so that the commands load quickly."""

from __future__ import annotations

from enum import Enum


class ReadyStudy(Enum):
    """What ``fedmed study new --kind`` offers; the value is what the user writes."""

    TRAINING = "training"
    STATISTICS = "statistics"
    FLOW = "flow"
    GLM = "glm"
    COX = "cox"
    SURVIVAL = "survival"
