"""What a statistics study asks, for the operator who approves it: each statistic with its cells, a line each.

All of it is public and stands in the study's bytes; nothing depends on a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from fedmed.study import StatisticsStudy, StudySpec
from fedmed.study.axes import AxisTable
from fedmed.study.statistics import StatisticTable

KINDS_ZH: Final[Mapping[str, str]] = {
    "count": "计数",
    "sum": "合计",
    "mean": "均值",
    "variance": "方差",
    "histogram": "频数分布",
    "quantile": "分位数",
    "cross_table": "交叉表",
    "ratio": "比率",
    "standardised_rate": "标准化率",
    "flow": "流向",
    "monthly": "月度合计",
}
_UNITS_ZH: Final[Mapping[str, str]] = {"rows": "按记录", "persons": "按人"}
_MOST_NAMED = 4
"""Levels of a condition that are named; of more the number is given."""


def asked_statistics(spec: StudySpec) -> list[dict[str, Any]]:
    """Each statistic as JSON; none for studies of another kind; `Any`: JSON values."""
    if not isinstance(spec, StatisticsStudy):
        return []
    return [_asked(entry) for entry in spec.statistics]


def asked_lines(statistics: Iterable[Mapping[str, Any]], *, chinese: bool) -> list[str]:
    """One line for each of `asked_statistics`, indented as the approval text is."""
    return [f"           {_in_chinese(one) if chinese else _in_english(one)}" for one in statistics]


def _asked(entry: StatisticTable) -> dict[str, Any]:
    """One statistic."""
    values = (value.column for value in (entry.value, entry.denominator) if value is not None)
    return {
        "name": entry.name,
        "kind": entry.kind.value,
        "of": " / ".join(values) or entry.unit or "rows",
        "by": [{"axis": axis.title, "levels": axis.size - 1} for axis in entry.axes],
        "where": [_condition(axis) for axis in entry.where],
        "event": [_condition(axis) for axis in entry.event],
        "cells": entry.groups * (entry.steps or 1),
    }


def _condition(axis: AxisTable) -> str:
    """``med_type in 21, 52``."""
    levels = axis.labels[:-1]
    named = ", ".join(levels) if len(levels) <= _MOST_NAMED else f"{len(levels)} values"
    column = axis.column if axis.prefix is None else f"{axis.column}[:{axis.prefix}]"
    return f"{column} in {named}"


def _in_english(one: Mapping[str, Any]) -> str:
    """One statistic in English."""
    by = ", ".join(f"{axis['axis']} ({axis['levels']})" for axis in one["by"]) or "nothing"
    only = "".join(f"; only {text}" for text in one["where"])
    events = "".join(f"; events: {text}" for text in one["event"])
    what = f"{one['kind'].replace('_', ' ')} of {one['of']}"
    return f"{one['name']}: {what} by {by}, {one['cells']} cells{only}{events}"


def _in_chinese(one: Mapping[str, Any]) -> str:
    """One statistic in Chinese."""
    of = _UNITS_ZH.get(one["of"], one["of"])
    by = "、".join(f"{axis['axis']}（{axis['levels']}类）" for axis in one["by"])
    cells = f"，分组 {by}" if by else "，不分组"
    only = "".join(f"；条件 {text}" for text in one["where"])
    events = "".join(f"；事件 {text}" for text in one["event"])
    return f"{one['name']}：{KINDS_ZH[one['kind']]}，{of}{cells}，共{one['cells']}格{only}{events}"
