"""What an operator reads before a yes: what is computed on which columns, what leaves, what it costs.

Everything but the year's budget and the remarks is worked out again from the study's own bytes, whose digest
the operator's signature covers: a custodian that lies about the study is found out here.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fedmed.data.nhsa.schema import Grade, schema
from fedmed.errors import DigestMismatch
from fedmed.governance.policy import computed_columns, computed_model, fewest_shown
from fedmed.protocol.schedule import Schedule, schedule_for
from fedmed.socket_messages import StudyReview
from fedmed.study import (
    RegressionStudy,
    StudySpec,
    SurvivalStudy,
    TrainingStudy,
    from_canonical_bytes,
    study_digest,
)
from fedmed.study.terms import TimeTable
from fedmed.types import Scheme
from fedmed_nodes.aligned import aligned
from fedmed_nodes.asked_statistics import asked_lines, asked_statistics
from fedmed_nodes.column_bounds import bounds_of

PURPOSES_ZH: Final[Mapping[str, str]] = {
    "drug_development": "药物研发",
    "post_marketing_study": "上市后研究",
    "value_assessment": "价值评估",
    "healthcare": "医疗服务",
    "insurance_finance": "保险金融",
    "government_service": "政务服务",
    "academic_research": "学术研究",
    "operational_service": "经办服务",
    "supervision": "基金监管",
    "long_term_care": "长期护理",
    "livelihood": "民生服务",
    "security": "公共安全",
}
MODELS_ZH: Final[Mapping[str, str]] = {
    "logistic": "逻辑回归模型",
    "mlp": "神经网络模型",
    "training": "模型训练",
    "statistics": "统计汇总",
    "regression": "回归模型",
    "survival": "生存分析",
}
GRADES_ZH: Final[Mapping[str, str]] = {
    grade.value: {"public": "公开", "internal": "内部", "sensitive": "敏感", "restricted": "受限"}[
        grade.value
    ]
    for grade in Grade
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLine:
    """One column that is computed on.

    Attributes:
        name: In the province's table.
        role: ``outcome``, ``term``, ``exposure``, ``time``, ``event``, ``group`` or the kind of the input;
            ``input`` where the study does not say more.
        label: Its Chinese name, empty where the schema does not know it.
        bounds: What the study fixes for it: a threshold, bounds or levels; empty for none.
        grade: Its grade here, empty without one.
    """

    name: str
    role: str
    label: str
    bounds: str
    grade: str


def approval_document(review: StudyReview, digest: bytes) -> dict[str, Any]:
    """What is to be approved as JSON; `Any`: JSON values.

    Args:
        review: What the custodian says.
        digest: The study that the operator named, 32 bytes.

    Raises:
        DigestMismatch: the custodian shows another study.
    """
    if study_digest(review.canonical) != digest:
        raise DigestMismatch("the custodian shows another study than the one that was named; stop here")
    spec = from_canonical_bytes(review.canonical)
    schedule = schedule_for(spec)
    return {
        "study": {
            "digest": digest.hex(),
            "id": spec.id,
            "title": spec.title,
            "owner": spec.owner,
            "purpose": spec.purpose,
            "expires": spec.expires.isoformat(),
            "standing": review.standing.value,
        },
        "computes": _computes(spec, schedule, review),
        "leaves": _leaves(spec, schedule),
        "costs": _costs(spec, schedule),
        "budget": _budget(review),
        "remarks": list(review.remarks),
        "refusal": review.refusal,
        "approvals": {
            "needed": review.place.approvals_needed,
            "signed_by": list(review.signed_by),
            "operators": list(review.operators),
        },
    }


def approval_lines(document: Mapping[str, Any]) -> str:
    """`approval_document` for people: in Chinese, then in English."""
    return "\n".join([*_chinese(document), "", *_english(document)])


def _computes(spec: StudySpec, schedule: Schedule, review: StudyReview) -> dict[str, Any]:
    """Which question, on whose rows, on which columns."""
    grades, bounds = dict(review.grades), bounds_of(spec)
    lines = [
        ColumnLine(
            name=name,
            role=_role(spec, name),
            label=_labels().get(name, ""),
            bounds=bounds.get(name, ""),
            grade=grades.get(name, ""),
        )
        for name in computed_columns(spec)
    ]
    return {
        "model": computed_model(spec),
        "dataset": spec.data.dataset,
        "data_year": review.data_year,
        "person": spec.data.person,
        "feature_set": spec.data.feature_set,
        "declared_persons": spec.data.declared_persons.get(review.place.node, 0),
        "columns": [
            {
                "name": line.name,
                "role": line.role,
                "label": line.label,
                "bounds": line.bounds,
                "grade": line.grade,
            }
            for line in lines
        ],
        "values": schedule.layout.values,
        "statistics": asked_statistics(spec),
    }


def _role(spec: StudySpec, column: str) -> str:
    """What a column is in the study."""
    return _roles(spec).get(column, "input")


def _roles(spec: StudySpec) -> Mapping[str, str]:
    """What the columns are of which the study says more than that it reads them."""
    if isinstance(spec, TrainingStudy):
        inputs = {feature.name: feature.kind.value for feature in spec.data.features}
        return {**inputs, spec.data.label.column: "outcome"}
    if isinstance(spec, RegressionStudy):
        fit = spec.regression
        named = {"outcome": fit.outcome, "exposure": fit.exposure}
        return {
            **{term.column: "term" for term in fit.terms},
            **{table.column: role for role, table in named.items() if table is not None},
            **_times(fit.time),
        }
    if isinstance(spec, SurvivalStudy):
        by = spec.survival.by
        return {**_times(spec.survival.time), **({} if by is None else {by.column: "group"})}
    return {}


def _times(time: TimeTable | None) -> dict[str, str]:
    """The columns of times to an event."""
    return {} if time is None else {time.column: "time", time.event: "event"}


@functools.cache
def _labels() -> Mapping[str, str]:
    """Chinese name of every column of the insurance schema; the first table that has it counts."""
    known = schema()
    columns = [column for name in reversed(known.names) for column in known.table(name).columns]
    return {column.name: column.zh for column in columns}


def _leaves(spec: StudySpec, schedule: Schedule) -> dict[str, Any]:
    """What goes out, how often, and who can open it."""
    allowance = schedule.allowance
    return {
        "sums": max(schedule.releases, sum(event.count for event in schedule.planned_events)),
        "canaries": max(stage.canaries for stage in schedule.stages),
        "least_persons": spec.data.min_cohort,
        "least_provinces": allowance.least_set,
        "nodes": len(spec.nodes),
        "threshold": allowance.threshold,
        "encrypted": spec.aggregation.scheme is not Scheme.PLAIN,
        "shared_key": spec.aggregation.scheme is Scheme.CKKS,
        "noise": not spec.privacy.is_exact,
        "least_group": fewest_shown(spec)[1] if spec.privacy.is_exact else None,
    }


def _costs(spec: StudySpec, schedule: Schedule) -> dict[str, Any]:
    """The guarantee and what is left of it if all others collude; None where sums are exact."""
    if spec.privacy.is_exact:
        return {"epsilon": None, "delta": None, "fallback_epsilon": None}
    fallback = schedule.fallback_epsilon()
    return {"epsilon": spec.privacy.epsilon, "delta": spec.privacy.delta, "fallback_epsilon": fallback}


def _budget(review: StudyReview) -> dict[str, Any]:
    """The year's budget before and after."""
    return {
        "dataset": review.dataset,
        "data_year": review.data_year,
        "cap_epsilon": review.cap_epsilon,
        "spent_epsilon": review.spent_epsilon,
        "committed_epsilon": review.committed_epsilon,
        "left_epsilon": max(0.0, review.cap_epsilon - review.committed_epsilon),
        "with_study_epsilon": review.with_study_epsilon,
        "left_after_epsilon": review.left_after_epsilon,
    }


def _english(d: Mapping[str, Any]) -> list[str]:
    """The document in English."""
    study, computes, leaves, costs = d["study"], d["computes"], d["leaves"], d["costs"]
    scheme = (
        f"encrypted: {leaves['threshold']} of {leaves['nodes']} provinces must open a sum together"
        if leaves["encrypted"]
        else "NOT encrypted: the coordinator sees this node's own sum"
    )
    if leaves["shared_key"]:
        scheme = f"encrypted, but each of {leaves['nodes']} provinces holds the key and can open any upload"
    noise = "with noise" if leaves["noise"] else "WITHOUT noise, exact"
    return [
        f"STUDY      {study['title']} ({study['id']}), {study['standing']}",
        f"           asked by {study['owner']} for {study['purpose']}; last day {study['expires']}",
        f"           digest {study['digest']}",
        f"COMPUTES   {computes['model']} with {computes['values']} values, on {computes['dataset']} "
        f"{computes['data_year']} ({computes['declared_persons']} persons declared), rows grouped by "
        f"{computes['person']}",
        *_features(computes, "           columns made by feature set {}"),
        *asked_lines(computes["statistics"], chinese=False),
        *_table(computes["columns"], ("column", "used as", "Chinese name", "within", "grade"), chinese=False),
        f"LEAVES     at most {leaves['sums']} sums of all values, from a cohort of at least "
        f"{leaves['least_persons']} insured persons here, {noise}; never a row",
        f"           {scheme}; a sum holds at least {leaves['least_provinces']} provinces",
        *_groups(leaves, "           readers get nothing of groups of fewer than {} persons"),
        *_audit(
            leaves,
            "AUDIT      {} of the values belong to made-up persons (canaries): they check clipping "
            "and noise, and say nothing of anybody",
        ),
        *_costs_in_english(costs, d["budget"], shared_key=leaves["shared_key"]),
        *(f"REMARK     {remark}" for remark in d["remarks"]),
        *([f"REFUSED    today this node's policy or budget says {d['refusal']}"] if d["refusal"] else []),
        f"SIGNED     {_signed(d['approvals'], 'nobody yet', 'no signature is needed here')}",
    ]


def _features(computes: Mapping[str, Any], words: str) -> list[str]:
    """A line about the feature set where the study names one: its name and 16 digits of its digest."""
    if computes["feature_set"] is None:
        return []
    name, digest = computes["feature_set"].split("@")
    return [words.format(f"{name}@{digest[:16]}")]


def _audit(leaves: Mapping[str, Any], words: str) -> list[str]:
    """A line about canaries where there are any."""
    return [words.format(leaves["canaries"])] if leaves["canaries"] else []


def _groups(leaves: Mapping[str, Any], words: str) -> list[str]:
    """A line about groups that are too small to be shown, where sums are exact."""
    return [] if leaves["least_group"] is None else [words.format(leaves["least_group"])]


def _costs_in_english(costs: Mapping[str, Any], budget: Mapping[str, Any], *, shared_key: bool) -> list[str]:
    """Epsilon, and what it does to the year."""
    year = f"{budget['dataset']} {budget['data_year']}"
    if costs["epsilon"] is None:
        return ["COSTS      no epsilon: the sums are exact, and nothing but their size protects a person"]
    return [
        f"COSTS      epsilon {costs['epsilon']:g} a person, delta {costs['delta']:.2g}; "
        f"{costs['fallback_epsilon']:.2f} if all other provinces collude"
        f"{', or one uses the key that all hold' if shared_key else ''}",
        f"BUDGET     {year}: {budget['spent_epsilon']:.3f} spent, {budget['committed_epsilon']:.3f} spent or "
        f"reserved of {budget['cap_epsilon']:g}, {budget['left_epsilon']:.3f} left",
        f"           with this study {budget['with_study_epsilon']:.3f} of {budget['cap_epsilon']:g}, "
        f"{budget['left_after_epsilon']:.3f} left",
    ]


def _chinese(d: Mapping[str, Any]) -> list[str]:
    """The document in Chinese."""
    study, computes, leaves, costs = d["study"], d["computes"], d["leaves"], d["costs"]
    scheme = (
        f"加密传输：{leaves['nodes']}个省级节点中须有{leaves['threshold']}个共同参与才能解开汇总值"
        if leaves["encrypted"]
        else "未加密：协调方可看到本节点的单独汇总值"
    )
    if leaves["shared_key"]:
        scheme = f"加密传输，但{leaves['nodes']}个省级节点持有同一密钥：任一省取得本节点上传内容即可解开"
    noise = "已加噪声" if leaves["noise"] else "不加噪声，为精确值"
    purpose = PURPOSES_ZH.get(study["purpose"], study["purpose"])
    model = MODELS_ZH.get(computes["model"], computes["model"])
    return [
        f"研究       {study['title']}（{study['id']}）",
        f"           申请方 {study['owner']}，用途 {purpose}，有效期至 {study['expires']}",
        f"           摘要 {study['digest']}",
        f"计算内容   {model}，{computes['values']}个数值；数据集 {computes['dataset']}，"
        f"{computes['data_year']}年度（申报{computes['declared_persons']}人），"
        f"按 {computes['person']} 归并到人",
        *_features(computes, "           字段由特征集 {} 派生"),
        *asked_lines(computes["statistics"], chinese=True),
        *_table(computes["columns"], ("字段", "用途", "中文名", "取值范围", "分级"), chinese=True),
        f"传出内容   至多{leaves['sums']}次汇总值，本节点参与人群至少{leaves['least_persons']}名参保人，"
        f"{noise}；任何一行原始数据都不出省",
        f"           {scheme}；每次汇总至少含{leaves['least_provinces']}个省",
        *_groups(leaves, "           少于{}人的分组不向结果使用方展示"),
        *_audit(
            leaves, "隐私审计   其中{}个数值属于虚构人员（审计用），用于核验裁剪与加噪，不涉及任何参保人"
        ),
        *_costs_in_chinese(costs, d["budget"], shared_key=leaves["shared_key"]),
        *(f"注意事项   {_remark_in_chinese(remark)}" for remark in d["remarks"]),
        *([f"不予通过   按本节点现行策略或预算，结果为 {d['refusal']}"] if d["refusal"] else []),
        f"签名情况   {_signed(d['approvals'], '尚无人签名', '本节点无需签名')}",
    ]


def _costs_in_chinese(costs: Mapping[str, Any], budget: Mapping[str, Any], *, shared_key: bool) -> list[str]:
    """Epsilon, and what it does to the year, in Chinese."""
    if costs["epsilon"] is None:
        return ["隐私代价   无隐私预算：结果为精确汇总值，仅靠人数规模保护个人"]
    return [
        f"隐私代价   每人 ε = {costs['epsilon']:g}，δ = {costs['delta']:.2g}；若其他各省全部串通"
        f"{'，或任一省使用共有密钥' if shared_key else ''}，ε = {costs['fallback_epsilon']:.2f}",
        f"年度预算   {budget['dataset']} {budget['data_year']}年度：上限 {budget['cap_epsilon']:g}，已花费 "
        f"{budget['spent_epsilon']:.3f}，已花费或预留 {budget['committed_epsilon']:.3f}，剩余 "
        f"{budget['left_epsilon']:.3f}",
        f"           批准本研究后：已花费或预留 {budget['with_study_epsilon']:.3f}，剩余 "
        f"{budget['left_after_epsilon']:.3f}",
    ]


# By how the remark begins: the rest may name a number.
_REMARKS_ZH: Final[Mapping[str, str]] = {
    "every province holds the key": "各省持有同一密钥：任一省取得本节点上传内容或与协调方串通即可解开",
    "uploads travel unencrypted": "上传内容未加密，协调方可看到各节点加噪后的汇总值",
    "the study goes on after a loss": "有节点退出后研究仍继续，退出节点加噪后的汇总值可被区分一次",
    "one person may appear": "同一人可能出现在多个节点，裁剪上限已相应分摊",
    "one person may be trained on": "同一人可能在多个节点参与训练，各节点的每一步均已计入隐私代价",
    "no colluder is allowed for": "未为串通留余量：若另一省与协调方串通，所列 ε 不成立",
    "the yes of before does not hold": "此前的批准在现行策略下不再有效，须重新审批",
    "this node was restored": "本节点曾由备份恢复，恢复前参加过的研究不得再次批准",
}


def _remark_in_chinese(remark: str) -> str:
    """A remark in Chinese; one that is not known stays as it is."""
    return next((zh for begins, zh in _REMARKS_ZH.items() if remark.startswith(begins)), remark)


_ROLES_ZH: Final[Mapping[str, str]] = {
    "outcome": "结局",
    "term": "自变量",
    "exposure": "暴露量",
    "time": "随访时间",
    "event": "事件",
    "group": "分组",
    "input": "输入",
    "number": "数值",
    "category": "类别",
    "codes": "编码列表",
}


def _table(columns: Iterable[Mapping[str, str]], heads: tuple[str, ...], *, chinese: bool) -> list[str]:
    """The columns, aligned; wide characters take two places on a terminal."""
    rows = [heads] + [
        (
            column["name"],
            _ROLES_ZH.get(column["role"], column["role"]) if chinese else column["role"],
            column["label"] or "-",
            column["bounds"] or "-",
            (GRADES_ZH.get(column["grade"], "") if chinese else column["grade"]) or "-",
        )
        for column in columns
    ]
    return [f"           {line}" for line in aligned(rows)]


def _signed(approvals: Mapping[str, Any], nobody: str, none_needed: str) -> str:
    """Who signed so far, and how many it takes."""
    if not approvals["needed"]:
        return none_needed
    names = ", ".join(approvals["signed_by"]) or nobody
    return f"{names} ({len(approvals['signed_by'])}/{approvals['needed']})"
