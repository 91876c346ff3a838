"""Puts a run's result document together and writes the run's folder."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from fedmed.evaluation import evaluation_part
from fedmed.models.layout import ModelLayout
from fedmed.phase_record import PhaseTotals, spent
from fedmed.plans.stage import PLAIN_SET
from fedmed.privacy.accounting import epsilon_rdp
from fedmed.programs.audited import AuditFindings
from fedmed.programs.contract import Arrays
from fedmed.programs.training import PARAMETERS
from fedmed.protocol.schedule import Schedule
from fedmed.report.result import (
    AggregationPart,
    Arms,
    CurvePoint,
    DataPart,
    LostNode,
    NodePart,
    Phase,
    PrivacyPart,
    Result,
    StudyPart,
)
from fedmed.study import TrainingStudy, canonical_bytes, study_digest, to_toml
from fedmed.types import FloatArray

FOLDER_MODE = 0o700
"""Of a run's folder: it holds a model, or exact sums before anything of them was hidden."""
_FILE_MODE = 0o600
VERSIONED = ("fedmed", "flwr", "torch", "tenseal", "dp-accounting", "cryptography", "numpy")
CHINESE_NAMES = {"shanghai": "上海", "jiangsu": "江苏", "zhejiang": "浙江", "anhui": "安徽"}


@dataclass(frozen=True, slots=True, kw_only=True)
class FederatedRun:
    """What the federated part of a study gave.

    Attributes:
        state: The program's final state, in training ``parameters`` of shape (p,) among it.
        history: Parameters after each training aggregation; none for other kinds.
        contributors: Node keys in each sum.
        plans: Attempts charged.
        lost: (node, aggregation, phase) of each loss or refusal.
        totals: By phase.
        seconds: Of the whole federated part.
        epsilon_spent: Of the charged attempts.
        audit: What the audit block says; None where the study has none.
    """

    state: Arrays
    history: tuple[FloatArray, ...]
    contributors: tuple[tuple[str, ...], ...]
    plans: int
    lost: tuple[tuple[str, int, str], ...]
    totals: Mapping[str, PhaseTotals]
    seconds: float
    epsilon_spent: float
    audit: AuditFindings | None = None

    @property
    def parameters(self) -> FloatArray:
        """Final parameters of a training study, shape (p,)."""
        return self.state[PARAMETERS]


def make_result(
    spec: TrainingStudy,
    schedule: Schedule,
    run: FederatedRun,
    *,
    arms: Arms,
    curve: tuple[CurvePoint, ...],
    seconds: Mapping[str, float],
    now: datetime.datetime,
) -> Result:
    """The document of a simulated run.

    Args:
        spec: The study.
        schedule: The study worked out.
        run: What the federated part gave.
        arms: Scores.
        curve: Scores over the aggregations.
        seconds: Of the parts outside the protocol, ``total`` among them.
        now: When the study ended, with its time zone.
    """
    told = sum(t.seconds for t in run.totals.values())
    by_phase = {name: t.seconds for name, t in run.totals.items()}
    return Result(
        study=StudyPart(
            id=spec.id,
            title=spec.title,
            digest=study_digest(canonical_bytes(spec)).hex(),
            purpose=spec.purpose,
            owner=spec.owner,
        ),
        privacy=privacy_part(spec, schedule, run.plans),
        aggregation=_aggregation(spec, schedule, run),
        arms=arms,
        evaluation=evaluation_part(
            spec, schedule, run.state, contributors=len(run.contributors[-1]) if run.contributors else 0
        ),
        curve=curve,
        phases=_phases(run, baselines=seconds["baselines"]),
        seconds={**by_phase, "combine": max(0.0, run.seconds - told), **seconds},
        nodes=tuple(
            NodePart(
                key=node,
                name=node.replace("_", " ").capitalize(),
                name_zh=CHINESE_NAMES.get(node),
                declared_persons=spec.data.declared_persons[node],
                point=point,
            )
            for point, node in enumerate(spec.nodes, start=1)
        ),
        data=_data(spec),
        versions={**{name: version(name) for name in VERSIONED}, "python": platform.python_version()},
        created=now.isoformat(timespec="seconds"),
        simulation=True,
    )


def deployed_result(
    spec: TrainingStudy, schedule: Schedule, run: FederatedRun, *, ended: datetime.datetime
) -> Result:
    """The document of a deployed run: no scores, for they would be releases of their own.

    Args:
        spec: The study.
        schedule: The study worked out.
        run: What the study gave.
        ended: When it ended, with its time zone.
    """
    result = make_result(
        spec,
        schedule,
        run,
        arms=Arms(),
        curve=(),
        seconds={"baselines": 0.0, "total": run.seconds},
        now=ended,
    )
    # Nobody measures these in a deployment: the coordinator adds up while it waits for the next reply.
    known = {name: s for name, s in result.seconds.items() if name not in ("baselines", "combine")}
    phases = tuple(phase for phase in result.phases if phase.phase != "combine")
    data = None if result.data is None else result.data.model_copy(update={"synthetic": None})
    return result.model_copy(update={"simulation": False, "seconds": known, "phases": phases, "data": data})


def privacy_part(spec: TrainingStudy, schedule: Schedule, plans: int) -> PrivacyPart:
    """Planned and spent, and what is left if all other nodes collude.

    Args:
        spec: The study.
        schedule: The study worked out.
        plans: Attempts charged, at least 1.
    """
    events = schedule.events(plans)
    delta = schedule.accounted_delta
    return PrivacyPart(
        mode=spec.privacy.mode,
        epsilon=schedule.epsilon,
        epsilon_spent=spent(schedule, plans),
        epsilon_rdp=epsilon_rdp(events, delta),
        delta=schedule.delta,
        unit=spec.privacy.unit,
        max_nodes_per_person=spec.privacy.max_nodes_per_person,
        noise_multiplier=schedule.noise_multiplier,
        dropouts=schedule.allowance.dropouts,
        colluders=schedule.allowance.colluders,
        fallback_epsilon=schedule.fallback_epsilon(plans),
        clip_norm=spec.privacy.clip_norm,
    )


def _aggregation(spec: TrainingStudy, schedule: Schedule, run: FederatedRun) -> AggregationPart:
    """The secure sums: who was in them and what they moved."""
    layout = schedule.layout
    plain = layout.parameter_set == PLAIN_SET
    sums = [run.totals[name] for name in ("contribute", "open") if name in run.totals]
    values = layout.values * run.plans * len(spec.nodes)
    return AggregationPart(
        scheme=spec.aggregation.scheme,
        nodes=len(spec.nodes),
        threshold=0 if plain else schedule.allowance.threshold,
        aggregations=len(run.contributors),
        attempts=run.plans,
        contributors=tuple(dict.fromkeys(run.contributors)),
        lost_nodes=tuple(LostNode(node=n, aggregation=a, phase=p) for n, a, p in run.lost),
        values=layout.values,
        bytes_up_per_value=sum(t.up for t in sums) / values,
        bytes_down_per_value=sum(t.down for t in sums) / values,
        bytes_total=sum(t.up + t.down for t in run.totals.values()),
        parameter_set=layout.parameter_set,
        margin_bits=_margin(layout.parameter_set),
        payload_bits=layout.fields * layout.field_bits,
        fields=layout.fields,
        field_bits=layout.field_bits,
    )


def _margin(name: str) -> float | None:
    """Worst-case margin of a ring parameter set; none for ``plain``."""
    from fedmed.crypto.ckks_parameters import CKKS_SETS
    from fedmed.crypto.parameters import PARAMETER_SETS

    if name in CKKS_SETS:
        return CKKS_SETS[name].margin_bits
    return None if name == PLAIN_SET else PARAMETER_SETS[name].margin_bits


def _phases(run: FederatedRun, *, baselines: float) -> tuple[Phase, ...]:
    """Time and bytes, in the order of the protocol."""
    told = sum(t.seconds for t in run.totals.values())
    rows = [Phase(phase=name, seconds=t.seconds, bytes=t.up + t.down) for name, t in run.totals.items()]
    rows.append(Phase(phase="combine", seconds=max(0.0, run.seconds - told), bytes=0))
    if baselines > 0:
        rows.append(Phase(phase="baselines", seconds=baselines, bytes=0))
    return tuple(rows)


def _data(spec: TrainingStudy) -> DataPart:
    """What was read."""
    label = spec.dataset_spec.label
    outcome = label.column if label.at_least is None else f"{label.column} >= {label.at_least:g}"
    return DataPart(
        name=spec.data.dataset,
        synthetic=spec.data.dataset == "person_year",
        outcome=outcome,
        held_out=spec.data.held_out,
        inputs=spec.dataset_spec.inputs,
    )


def model_words(model: ModelLayout) -> str:
    """A model's layout in one line, for its card."""
    hidden = list(model.hidden) or "none"
    return f"{model.kind}, inputs {model.inputs}, hidden {hidden}, {model.size} parameters"


def write_run(
    folder: Path,
    spec: TrainingStudy,
    result: Result,
    *,
    parameters: FloatArray,
    model: ModelLayout,
    seed: int,
) -> None:
    """Write ``study.toml``, ``result.json``, ``model.safetensors`` and ``model_card.md``.

    Raises:
        OSError: the folder cannot be written.

    Guarantees:
        The result is written last, so that a folder with one is complete. A folder made here has mode 0700,
        the model 0600.
    """
    from fedmed.report import model_card

    folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
    (folder / "study.toml").write_text(to_toml(spec), encoding="utf-8")
    tensors = dict(model.split(parameters))
    metadata = {"study": result.study.digest, "seed": str(seed), "kind": model.kind}
    write_arrays(folder / "model.safetensors", tensors, metadata=metadata)
    (folder / "model_card.md").write_text(model_card(result, model_words(model)), encoding="utf-8")
    (folder / "result.json").write_text(result.to_json(), encoding="utf-8")


def write_arrays(path: Path, arrays: Arrays, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write named arrays as a safetensors file that only its owner may read.

    Args:
        path: Replaced whole or not at all.
        arrays: What it holds.
        metadata: Words beside them.

    Raises:
        OSError: it cannot be written.

    Guarantees:
        Mode 0600 from the first byte on, whatever the umask and whatever lay there.
    """
    from safetensors.numpy import save

    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    held = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    with os.fdopen(os.open(draft, flags, _FILE_MODE), "wb") as file:
        file.write(save(held, metadata=dict(metadata or {})))
    draft.replace(path)
