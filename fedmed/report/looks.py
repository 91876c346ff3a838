"""How the arms look: one name, colour and marker each, the same in tables, plots and legend.

Colours are Okabe and Ito's, safe for colour-blind readers, and never the only sign: every arm has its own
marker, filled with privacy and hollow without.
"""

from __future__ import annotations

from dataclasses import dataclass

from fedmed.report.result import Arm, Result


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmLook:
    """How an arm looks everywhere.

    Attributes:
        key: Its key in the result.
        name: Its name beside the others of its group.
        private: Whether its model is differentially private.
        colour: Of its marker.
        marker: matplotlib's name of the marker.
        meaning: One line for the legend.
    """

    key: str
    name: str
    private: bool
    colour: str
    marker: str
    meaning: str


ARM_LOOKS = (
    ArmLook(
        key="federated",
        name="Federated",
        private=True,
        colour="#0072B2",
        marker="o",
        meaning="this study: together, rows stay home",
    ),
    ArmLook(
        key="central",
        name="Central",
        private=True,
        colour="#E69F00",
        marker="D",
        meaning="all rows in one place, same epsilon",
    ),
    ArmLook(
        key="alone_private",
        name="Alone",
        private=True,
        colour="#D55E00",
        marker="s",
        meaning="each by itself, same epsilon",
    ),
    ArmLook(
        key="statistics",
        name="One sum",
        private=True,
        colour="#CC79A7",
        marker="^",
        meaning="logistic model from one secure sum, same epsilon",
    ),
    ArmLook(
        key="alone",
        name="Alone",
        private=False,
        colour="#D55E00",
        marker="s",
        meaning="each by itself, no privacy",
    ),
    ArmLook(
        key="pooled",
        name="Pooled",
        private=False,
        colour="#009E73",
        marker="D",
        meaning="all rows in one place, no privacy",
    ),
)

LOOKS = {look.key: look for look in ARM_LOOKS}


def known_arms(result: Result) -> tuple[tuple[ArmLook, Arm], ...]:
    """List the arms that the result holds, in the order of the legend."""
    pairs = ((look, getattr(result.arms, look.key)) for look in ARM_LOOKS)
    return tuple((look, arm) for look, arm in pairs if arm is not None)
