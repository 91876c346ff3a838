"""Drills: nodes that are lost on purpose, so that people can watch what a study does about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from fedmed.errors import ConfigError

# Flower's message types that a drill looks at (fedmed.protocol.steps.PhaseKind).
PROPOSE, CONTRIBUTE = "query.propose", "train"


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """A node that falls silent for good.

    Attributes:
        node: Its key.
        after_contributing: Whether it is lost between contributing and opening, not before contributing.
        contribution: Which of its contributions to the study this is about, from 1.
    """

    node: str
    after_contributing: bool
    contribution: int


def parse_loss(text: str, nodes: Sequence[str]) -> Loss:
    """Read ``NODE@contribute``, ``NODE@open`` or either with ``:N`` for the N-th aggregation.

    Raises:
        ConfigError: another form, an unknown node, or N < 1.
    """
    found = re.fullmatch(r"([^@:]+)@(contribute|open)(?::([1-9][0-9]{0,4}))?", text)
    if found is None:
        raise ConfigError(
            f"--lose must be NODE@contribute or NODE@open, with :N for a later one; got {text!r}"
        )
    node, phase, number = found.groups()
    if node not in nodes:
        raise ConfigError(f"--lose: no node {node!r}; the study's nodes are {', '.join(nodes)}")
    return Loss(node=node, after_contributing=phase == "open", contribution=int(number or 1))


class Drill:
    """Decides for each message to a node whether it is lost; remembers how far every node has come."""

    def __init__(self, losses: Sequence[Loss], nodes: Sequence[str]) -> None:
        self._losses = {nodes.index(loss.node) + 1: loss for loss in losses}
        self._in_study: set[int] = set()
        self._contributions: dict[int, int] = {}

    def loses(self, point: int, message_type: str) -> bool:
        """Whether this message to the node at roster point ``point`` is lost."""
        loss = self._losses.get(point)
        if loss is None:
            return False
        # The ceremony rehearses with the same messages; a drill begins with the study.
        if message_type == PROPOSE:
            self._in_study.add(point)
        if point in self._in_study and message_type == CONTRIBUTE:
            self._contributions[point] = self._contributions.get(point, 0) + 1
        seen = self._contributions.get(point, 0)
        if not loss.after_contributing or seen > loss.contribution:
            return seen >= loss.contribution
        return seen == loss.contribution and message_type != CONTRIBUTE
