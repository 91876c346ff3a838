"""The arms of a simulation, scored on each province's own held-out persons.

A deployment knows none of this: exact scores read rows of every province. Private arms draw their noise
from the operating system, as a release does; no arm has a seed for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from fedmed.aggregation.encoding import decode, encode, sensitivity
from fedmed.analytics.moment_sums import clipped_moments
from fedmed.analytics.moments import logistic_from_moments
from fedmed.data.examples import Examples, concatenate
from fedmed.data.features import examples
from fedmed.errors import DataContractError
from fedmed.models.layout import ModelLayout, PersonClip
from fedmed.models.score import probabilities, score
from fedmed.plans.training import model_of
from fedmed.privacy.noise import DiscreteGaussian, fresh_source
from fedmed.protocol.schedule import Schedule, schedule_for
from fedmed.report.result import Arm, CalibrationBin, NodeScore
from fedmed.study import TrainingStudy
from fedmed.study.modes import MOST_MOMENT_INPUTS, STATISTICS_SPARE_ATTEMPTS
from fedmed.study.training import ModelTable
from fedmed.training.baselines import PrivateTraining, Watch, ignore_steps, train_plain, train_private
from fedmed.types import FloatArray, Mode

TWIN_AGGREGATIONS = 40
"""Gradient sums of the private arms beside a study in another mode: the default of mode ``aggregate``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What arms are trained and judged on.

    Attributes:
        spec: The study, in mode ``aggregate`` (`aggregate_twin`).
        schedule: ``spec`` worked out.
        train: Training examples of each node, in roster order.
        test: Held-out examples of each node, in roster order.
        start: Initial parameters.
        is_of_statistics: Whether the study itself is in mode ``statistics``.
    """

    spec: TrainingStudy
    schedule: Schedule
    train: Mapping[str, Examples]
    test: Mapping[str, Examples]
    start: FloatArray
    is_of_statistics: bool = False

    @property
    def model(self) -> ModelLayout:
        """Names and shapes of the model."""
        return model_of(self.spec)


def make_bench(
    spec: TrainingStudy, schedule: Schedule, tables: Mapping[str, pa.Table], *, start: FloatArray
) -> Bench:
    """Read every node's training and held-out examples.

    Raises:
        DataContractError: a node's held-out persons are none.
    """
    data, twin = spec.dataset_spec, aggregate_twin(spec)
    return Bench(
        spec=twin,
        schedule=schedule if twin is spec else schedule_for(twin),
        train={node: examples(tables[node], data, part="train") for node in spec.nodes},
        test={node: examples(tables[node], data, part="test") for node in spec.nodes},
        start=start,
        is_of_statistics=spec.privacy.mode is Mode.STATISTICS,
    )


def aggregate_twin(spec: TrainingStudy) -> TrainingStudy:
    """The same question at the same epsilon in mode ``aggregate``, by which private arms are trained.

    Args:
        spec: A study in any mode; one in mode ``aggregate`` is its own twin.

    Returns:
        A study with `TWIN_AGGREGATIONS` gradient sums, and the clip, rate and momentum of ``spec``.
    """
    if spec.privacy.mode is Mode.AGGREGATE:
        return spec
    return _in_mode(spec, Mode.AGGREGATE, aggregations=TWIN_AGGREGATIONS)


def statistics_twin(spec: TrainingStudy) -> TrainingStudy | None:
    """The same question at the same epsilon from one sum of moments; None where inputs are too many."""
    if spec.privacy.mode is Mode.STATISTICS:
        return spec
    if spec.dataset_spec.inputs > MOST_MOMENT_INPUTS:
        return None
    return _in_mode(spec, Mode.STATISTICS, aggregations=1)


def _in_mode(spec: TrainingStudy, mode: Mode, *, aggregations: int) -> TrainingStudy:
    """A copy in another mode, its evaluation and audit left out: arms are scored on the rows themselves."""
    spare = STATISTICS_SPARE_ATTEMPTS if mode is Mode.STATISTICS else spec.training.spare_attempts
    training = spec.training.model_copy(update={"aggregations": aggregations, "spare_attempts": spare})
    changes: dict[str, object] = {
        "privacy": spec.privacy.model_copy(update={"mode": mode}),
        "training": training,
        "local": None,
    }
    if mode is Mode.STATISTICS:
        changes |= {
            "model": ModelTable(),
            "training": training.model_copy(update={"rows_of_a_person": "mean"}),
            "report": spec.report.model_copy(update={"evaluation_epsilon": None}),
        }
    return spec.model_copy(update=changes)


def statistics_arm(bench: Bench) -> tuple[FloatArray, ModelLayout] | None:
    """Train from one noisy sum of moments, as mode ``statistics`` would; None where inputs are too many.

    The noise is that of a federation, with its allowance: rounding, clamping and every node's share are those
    of the real path, only the encryption is left out.
    """
    twin = statistics_twin(bench.spec)
    if twin is None:
        return None
    schedule, model = schedule_for(twin), model_of(twin)
    (stage,) = schedule.stages
    law, layout = DiscreteGaussian(stage.layout.noise_scale), stage.layout
    total = np.zeros(layout.values, dtype=np.uint64)
    for rows in bench.train.values():
        clipped = clipped_moments(rows, row_norm=twin.privacy.clip_norm)
        noise = law.sample(layout.values, fresh_source())
        total = total + encode(clipped, noise, layout, clip_norm=stage.clip_norm)
    nodes = len(bench.train)
    found = logistic_from_moments(
        decode(total, layout, nodes),
        inputs=model.inputs,
        noise_std=layout.noise_scale * layout.grid * nodes**0.5,
    )
    return found, model


def central_noise(spec: TrainingStudy, schedule: Schedule, *, persons: int) -> Callable[[int], FloatArray]:
    """Noise of one curator for the same epsilon: noise_multiplier times sensitivity, no allowance.

    Args:
        spec: The study.
        schedule: The study worked out.
        persons: Most persons in the sum, for the float part of the sensitivity.
    """
    grid = schedule.layout.grid
    values = schedule.stages[0].answer_values
    moved = sensitivity(spec.privacy.clip_norm, grid, values=values, max_persons=persons)
    law = DiscreteGaussian(schedule.noise_multiplier * moved)
    return lambda count: law.sample(count, fresh_source()).astype(np.float64) * grid


def private_arm(bench: Bench, nodes: Sequence[str], *, watch: Watch = ignore_steps) -> FloatArray:
    """Train on the rows of ``nodes`` in one place at the study's epsilon; returns the parameters."""
    spec = bench.spec
    persons = sum(spec.training_persons(node) for node in nodes)
    declared = max(spec.data.declared_persons.values())
    training = PrivateTraining(
        layout=bench.model,
        start=bench.start,
        clip=PersonClip(norm=spec.privacy.clip_norm, rows=spec.training.rows_of_a_person),
        persons=persons,
        aggregations=spec.training.aggregations,
        learning_rate=spec.training.learning_rate,
        momentum=spec.training.momentum,
    )
    noise = central_noise(spec, bench.schedule, persons=declared)
    return train_private([bench.train[node] for node in nodes], training, noise=noise, watch=watch)


def plain_arm(bench: Bench, nodes: Sequence[str]) -> FloatArray:
    """Fit on the rows of ``nodes`` without privacy; returns the parameters."""
    parts = [bench.train[node] for node in nodes]
    return train_plain(parts[0] if len(parts) == 1 else concatenate(parts), bench.model, start=bench.start)


def judge(bench: Bench, parameters: FloatArray, *, model: ModelLayout | None = None) -> Arm:
    """Score one model, by default the study's, on every node's held-out persons and on all together."""
    model = model or bench.model
    predicted = {node: probabilities(parameters, model, rows) for node, rows in bench.test.items()}
    return _arm(bench, predicted, pooled=True)


def judge_alone(bench: Bench, parameters: Mapping[str, FloatArray]) -> Arm:
    """Score each node's own model on that node's held-out persons."""
    model = bench.model
    predicted = {node: probabilities(parameters[node], model, bench.test[node]) for node in bench.test}
    return _arm(bench, predicted, pooled=False)


def mean_auc(bench: Bench, parameters: FloatArray) -> float:
    """Unweighted mean AUC over the nodes whose held-out labels have both classes."""
    values = []
    for rows in bench.test.values():
        found = _score(probabilities(parameters, bench.model, rows), rows, bins=0)
        if found.auc is not None:
            values.append(found.auc)
    return float(np.mean(values))


def _arm(bench: Bench, predicted: Mapping[str, FloatArray], *, pooled: bool) -> Arm:
    """Scores by node, their unweighted means, and the score of all rows together."""
    bins = bench.spec.report.bins
    per_node = {node: _score(predicted[node], bench.test[node], bins=bins) for node in bench.test}
    aucs = [s.auc for s in per_node.values() if s.auc is not None]
    if not aucs:
        raise DataContractError("no node has held-out persons of both classes: nothing can be scored")
    precisions = [s.average_precision for s in per_node.values() if s.average_precision is not None]
    ratios = [s.expected_over_observed for s in per_node.values() if s.expected_over_observed is not None]
    together = None
    if pooled:
        labels = np.concatenate([rows.labels for rows in bench.test.values()])
        together = score(np.concatenate(list(predicted.values())), labels).auc
    return Arm(
        auc=float(np.mean(aucs)),
        auc_pooled_test=together,
        average_precision=float(np.mean(precisions)) if precisions else None,
        expected_over_observed=float(np.mean(ratios)) if ratios else None,
        per_node=per_node,
    )


def _score(predicted: FloatArray, rows: Examples, *, bins: int) -> NodeScore:
    """One node's scores; what one class of labels cannot give is absent."""
    labels = rows.labels
    counts = {"persons": rows.persons, "positives": int(labels.sum())}
    calibration = _calibration(predicted, labels.astype(np.float64), bins=bins) if bins else ()
    try:
        found = score(predicted, labels)
    except DataContractError:
        return NodeScore(**counts, calibration=calibration)
    return NodeScore(
        auc=found.auc,
        average_precision=found.average_precision,
        expected_over_observed=found.expected_over_observed,
        calibration=calibration,
        **counts,
    )


def _calibration(predicted: FloatArray, labels: FloatArray, *, bins: int) -> tuple[CalibrationBin, ...]:
    """Bins of about equal size in rising order of predicted risk, at least 20 rows each."""
    order = np.argsort(predicted, kind="stable")
    parts = np.array_split(order, max(1, min(bins, len(order) // 20)))
    return tuple(
        CalibrationBin(
            predicted=float(predicted[part].mean()),
            observed=float(labels[part].mean()),
            persons=len(part),
        )
        for part in parts
        if len(part)
    )
