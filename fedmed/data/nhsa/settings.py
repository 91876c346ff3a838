"""What a province may set of the quality gate: tolerances, limits, regional codes, rules switched off."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from fedmed.data.nhsa.rules import rule_kinds, rules
from fedmed.data.nhsa.schema import schema
from fedmed.types import require

LEAST_CELL: Final = 11
"""Counts from 1 to one below this are shown as ``<11``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QualitySettings:
    """How strict the gate is; the defaults are the national definitions.

    Attributes:
        gate: Least score, in [0, 1], of every dimension for tables to be fit.
        money: Tolerance of sums over a settlement, yuan.
        line: Tolerance of sums over a fee line, yuan.
        stay_days: Longest stay, days.
        late_days: Longest time from a visit's end to its settlement, days.
        allowed: Kind or id of a rule -> rate up to which it is no finding; beside those of the rules.
        off: Kinds or ids of rules that do not hold in this region.
        codes: Code list -> further codes of this region.
    """

    gate: float = 0.95
    money: float = 0.02
    line: float = 0.01
    stay_days: int = 365
    late_days: int = 30
    allowed: Mapping[str, float] = field(default_factory=dict)
    off: frozenset[str] = frozenset()
    codes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(0 <= self.gate <= 1, f"gate must be in [0, 1], got {self.gate}")
        for name in ("money", "line"):
            value = getattr(self, name)
            require(math.isfinite(value) and value >= 0, f"{name} must be >= 0 yuan, got {value}")
        for name in ("stay_days", "late_days"):
            require(getattr(self, name) >= 1, f"{name} must be >= 1 day, got {getattr(self, name)}")
        known = {*rule_kinds(), *(rule.id for rule in rules())}
        for name, rate in self.allowed.items():
            require(0 <= rate <= 1, f"allowed rate of {name} must be in [0, 1], got {rate}")
        unknown = sorted((set(self.allowed) | self.off) - known)
        require(not unknown, f"unknown rule {', '.join(unknown)}; fedmed data schema --rules lists all")
        lists = sorted(set(self.codes) - set(schema().code_lists))
        require(not lists, f"unknown code list {', '.join(lists)}; see fedmed data schema")
