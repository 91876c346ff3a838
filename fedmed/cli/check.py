"""What ``fedmed study check`` says about a study before anything runs: privacy, layout, bytes, time, disk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from fedmed.study import StudySpec, TrainingStudy, canonical_bytes, study_digest
from fedmed.types import Mode, PrivacyEvent, Scheme

if TYPE_CHECKING:
    from rich.console import RenderableType

    from fedmed.protocol.schedule import Schedule

# Rough seconds on one core, from benchmarks/micro: a chunk of the ring to contribute, to answer and to
# combine; noise for a million values; gradients of a million persons times a thousand inputs; a phase on
# Flower's grid in one process.
SECONDS_PER_CHUNK = 0.010
SECONDS_PER_MILLION_DRAWS = 0.3
SECONDS_PER_MILLION_PERSON_KILO_INPUTS = 1.5
SECONDS_PER_PHASE = 0.02
# What a custodian keeps of each dealer: 4 primes x 8192 residues x 7 bytes; sealing adds about 150 bytes.
BYTES_PER_DEALER = 229_376
BYTES_PER_SEED = 32
SEALING_BYTES = 150
OPENED_BYTES = 8
# Plan, headers and signatures of one attempt, both ways together.
BYTES_OF_WORDS = 2_000
PARAMETER_BYTES = 8
_BY_COLUMN = frozenset({"noise_errors"})  # sections whose entries are named as columns are
_NOISY = ("noisy sum", "the planned epsilon holds")
_FULL = (
    "one after the other, each chosen after the results before it: full batches compose as planned; fewer "
    "fit beside studies with sampled batches (mode local)"
)
_SAMPLED = (
    "one after the other, each chosen after the results before it: sampled batches must pass a Renyi filter, "
    "which holds fewer than a plan fixed in advance would"
)
_FALLBACK = "then only the fallback epsilon protects"


def check_document(spec: StudySpec, *, cap: float | None = None) -> dict[str, object]:
    """Work a study out.

    Args:
        spec: The study.
        cap: Epsilon that a province allows in a year; None = the study's own, so once.

    Returns:
        A JSON document: ``study``, ``privacy``, ``layout``, ``bytes_per_node``, ``estimates``,
        ``who_can_decrypt``; of a study that is no training ``what_leaves`` as well; of a question with
        noise what `fedmed.cli.forecast.forecast_of` says.

    Raises:
        ConfigError: the study cannot be run as written.
    """
    from fedmed.protocol.schedule import schedule_for

    schedule = schedule_for(spec)
    traffic = _traffic(spec, schedule)
    return {
        "study": {
            "id": spec.id,
            "digest": study_digest(canonical_bytes(spec)).hex(),
            "nodes": list(spec.nodes),
            "protected_persons": spec.protected_persons,
            "expires": spec.expires.isoformat(),
        },
        "privacy": _privacy(spec, schedule),
        **_composition(spec, schedule, cap),
        **_leaving(spec, schedule),
        "layout": _layout(schedule),
        "bytes_per_node": traffic,
        "estimates": _estimates(spec, schedule, sum(traffic.values())),
        "who_can_decrypt": who_can_decrypt(spec, schedule),
        **_forecast(spec, schedule),
    }


def _forecast(spec: StudySpec, schedule: Schedule) -> dict[str, object]:
    """Whether noise will hide the answer; last, so that it is what a reader sees first."""
    from fedmed.cli.forecast import forecast_of

    return forecast_of(spec, schedule)


def _leaving(spec: StudySpec, schedule: Schedule) -> dict[str, object]:
    """What leaves a province, where it is more than a model."""
    from fedmed.cli.what_leaves import what_leaves

    leaving = what_leaves(spec, schedule)
    return {"what_leaves": leaving} if leaving else {}


def _privacy(spec: StudySpec, schedule: Schedule) -> dict[str, object]:
    """The guarantee, planned and at worst."""
    allowance = schedule.allowance
    noise = {
        "clip_norm": schedule.stages[0].person_clip_norm,
        "noise_multiplier": schedule.noise_multiplier,
    }
    return {
        "mode": spec.privacy.mode.value,
        **_epsilons(spec, schedule),
        "unit": spec.privacy.unit,
        "max_nodes_per_person": spec.privacy.max_nodes_per_person,
        **({} if spec.privacy.is_exact else noise),
        **_local_steps(schedule),
        "releases": schedule.releases,
        "threshold": allowance.threshold,
        "dropouts": allowance.dropouts,
        "colluders": allowance.colluders,
        "least_set": allowance.least_set,
        "on_dropout": spec.aggregation.on_dropout.value,
    }


def _epsilons(spec: StudySpec, schedule: Schedule) -> dict[str, object]:
    """Planned epsilon by both accountants, and at worst; exact sums have none."""
    from fedmed.privacy.accounting import epsilon, epsilon_rdp

    if spec.privacy.is_exact:
        return {"protection": "exact: no noise and no epsilon; every province's policy must allow it"}
    # What the accountant may use; the rest of delta is kept for the sampler.
    events, delta = schedule.planned_events, schedule.accounted_delta
    return {
        "epsilon": schedule.epsilon,
        "epsilon_of_plan": epsilon(events, delta),
        "epsilon_rdp": epsilon_rdp(events, delta),
        "fallback_epsilon": schedule.fallback_epsilon(),
        "delta": schedule.delta,
    }


def _composition(spec: StudySpec, schedule: Schedule, cap: float | None) -> dict[str, object]:
    """What the study costs in company: by stage, with others in a year, and for a person at two nodes."""
    from fedmed.frontier.summary import studies_a_year
    from fedmed.privacy.accounting import epsilon

    if spec.privacy.is_exact:
        return {}
    delta, events = schedule.accounted_delta, schedule.planned_events
    by_stage = {
        f"epsilon_of_{stage.kind.value}": epsilon(stage.events(stage.rounds + spec.spare_attempts), delta)
        for stage in schedule.stages
    }
    budget = spec.privacy.epsilon if cap is None else cap
    return {
        "composition": {
            **(by_stage if len(by_stage) > 1 else {}),
            "cap_a_year": budget,
            "such_studies_a_year": studies_a_year(events, delta, budget=budget),
            "counted_for_the_year": _SAMPLED if any(e.sample_rate < 1 for e in events) else _FULL,
            **_second_home(spec, events, delta),
        }
    }


def _second_home(spec: StudySpec, events: tuple[PrivacyEvent, ...], delta: float) -> dict[str, float]:
    """What a person loses whose rows lie at a second node although the study says one."""
    from fedmed.privacy.accounting import epsilon
    from fedmed.privacy.composition import home_epsilon

    if spec.privacy.max_nodes_per_person > 1:
        return {}
    if spec.privacy.mode is Mode.LOCAL:  # each node adds its own noise: twice as many releases
        found = epsilon([replace(event, count=2 * event.count) for event in events], delta)
    else:
        found = home_epsilon(events, delta, homes=2, clip_is_divided=False)
    return {"epsilon_of_a_person_at_two_nodes": found}


def _local_steps(schedule: Schedule) -> dict[str, object]:
    """What a node does by itself in a round of mode ``local``; nothing in other modes."""
    stage = schedule.stages[0]
    if stage.local is None or stage.event is None:
        return {}
    return {
        "local_steps": stage.local.steps,
        "charged_steps": stage.event.count,
        "sample_rate": stage.event.sample_rate,
    }


def _layout(schedule: Schedule) -> dict[str, object]:
    """How a sum travels."""
    layout = schedule.layout
    return {
        "values": layout.values,
        "grid": layout.grid,
        "limit": layout.limit,
        "noise_scale": layout.noise_scale,
        "field_bits": layout.field_bits,
        "fields": layout.fields,
        "coefficients": layout.coefficients,
        "parameter_set": layout.parameter_set,
        "bytes_per_value": schedule.bytes_per_value,
    }


def _traffic(spec: StudySpec, schedule: Schedule) -> dict[str, int]:
    """Largest payload of one node, all planned attempts used and all of them answered by it."""
    attempts, values = schedule.releases, schedule.layout.values
    vector = round(schedule.bytes_per_value * values)
    scheme = spec.aggregation.scheme
    share = {Scheme.THRESHOLD: BYTES_PER_DEALER, Scheme.CKKS: BYTES_PER_SEED, Scheme.PLAIN: 0}[scheme]
    sealed = len(spec.nodes) * (share + SEALING_BYTES) if scheme.has_keys else 0
    # A custodian of `threshold` answers with a polynomial; of `ckks` it is sent one and answers with numbers.
    answers = {Scheme.THRESHOLD: vector, Scheme.CKKS: OPENED_BYTES * values, Scheme.PLAIN: 0}[scheme]
    shown = vector if scheme is Scheme.CKKS else 0
    return {
        "ceremony_up": sealed,
        "ceremony_down": sealed,
        "rounds_up": attempts * (vector + answers + BYTES_OF_WORDS),
        "rounds_down": attempts * (PARAMETER_BYTES * values + shown + BYTES_OF_WORDS * len(spec.nodes)),
    }


def _estimates(spec: StudySpec, schedule: Schedule, moved: int) -> dict[str, float]:
    """Rough time of a simulation on one core and disk at one node; the baselines come on top."""
    from fedmed.protocol.schedule import chunk_count

    nodes, values = len(spec.nodes), schedule.layout.values
    chunks = chunk_count(schedule.layout)
    persons, inputs = spec.protected_persons, _inputs(spec)
    one_round = (
        nodes * chunks * SECONDS_PER_CHUNK
        + nodes * values / 1e6 * SECONDS_PER_MILLION_DRAWS
        + persons / 1e6 * inputs / 1e3 * SECONDS_PER_MILLION_PERSON_KILO_INPUTS
        + 2 * nodes * SECONDS_PER_PHASE
    )
    # Contributions and answers are kept so that they can be sent again; keys lie beside them.
    keys = nodes * BYTES_PER_DEALER if spec.aggregation.scheme is Scheme.THRESHOLD else 0
    kept = schedule.releases * 2 * schedule.bytes_per_value * values
    return {
        "seconds_per_aggregation": one_round,
        "seconds": one_round * schedule.rounds,
        "disk_bytes_per_node": kept + keys,
        "all_bytes": float(moved * nodes),
    }


def _inputs(spec: StudySpec) -> int:
    """Numbers that are computed on for each person, about."""
    return spec.dataset_spec.inputs if isinstance(spec, TrainingStudy) else len(spec.columns)


def who_can_decrypt(spec: StudySpec, schedule: Schedule) -> list[dict[str, str]]:
    """Who can open what, one row for each party (PROTOCOL.md section 7)."""
    allowance, nodes = schedule.allowance, len(spec.nodes)
    if not isinstance(spec, TrainingStudy):
        return _who_of_question(spec, schedule)
    if spec.aggregation.scheme is Scheme.CKKS:
        return _who_shares_a_key(_NOISY[0], _FALLBACK, province=_province_sees(allowance.colluders))
    if spec.aggregation.scheme is Scheme.PLAIN:
        return [
            _row("coordinator", "every upload: each node's noisy sum travels unencrypted"),
            _row("readers of the model", "the model; the planned epsilon holds"),
            _row("a province", "its own rows"),
        ]
    t, c = allowance.threshold, allowance.colluders
    return [
        _row("coordinator", "one noisy sum an attempt, over one fixed set of nodes; no upload singly"),
        _row(f"coordinator with {c} of {nodes} provinces", "the same sum; the planned epsilon holds"),
        _row(f"{t} provinces together", "any upload: then only the fallback epsilon protects"),
        _row("readers of the model", "the model; the planned epsilon holds"),
        _row("a province", _province_sees(c)),
    ]


def _who_of_question(spec: StudySpec, schedule: Schedule) -> list[dict[str, str]]:
    """The same for a study that is no training: its provinces see a sum only if they are sent one."""
    allowance, nodes = schedule.allowance, len(spec.nodes)
    sum_, holds = ("exact sum", "no epsilon protects it") if spec.privacy.is_exact else _NOISY
    readers = _row("readers of the result", f"the {sum_}; {holds}")
    is_sent = any(stage.input_values for stage in schedule.stages)
    province = _row("a province", f"its own rows{', and what is computed from every sum' if is_sent else ''}")
    if spec.aggregation.scheme is Scheme.CKKS:
        left = holds if spec.privacy.is_exact else _FALLBACK
        return _who_shares_a_key(sum_, left, province=province["what"])
    if spec.aggregation.scheme is Scheme.PLAIN:
        uploads = f"every upload: each node's {sum_} travels unencrypted"
        return [_row("coordinator", uploads), readers, province]
    return [
        _row("coordinator", f"one {sum_} an attempt, over one fixed set of nodes; no upload singly"),
        _row(f"coordinator with {allowance.colluders} of {nodes} provinces", f"the same sum; {holds}"),
        _row(f"{allowance.threshold} provinces together", f"any upload: one province's own {sum_}"),
        readers,
        province,
    ]


def _who_shares_a_key(sum_: str, left: str, *, province: str) -> list[dict[str, str]]:
    """Scheme ``ckks``: every province holds the key; what is left against whoever uses it on an upload.

    Args:
        sum_: What is opened.
        left: What still protects against whoever opens an upload.
        province: What a province sees without using the key.
    """
    return [
        _row("coordinator", f"one {sum_} an attempt, over one fixed set of nodes; no upload singly"),
        _row("coordinator with any one province", f"every upload: {left}"),
        _row("any province", f"{province}; it holds the key, so any upload it gets hold of: {left}"),
        _row("readers of the result", f"what is released of every {sum_}"),
    ]


def _province_sees(colluders: int) -> str:
    """A province is sent every model, so it knows every sum and its own share of the noise."""
    sums = "its own rows, every model, and so every noisy sum; "
    if colluders == 0:
        return sums + "with colluders = 0 the planned epsilon does NOT hold against it"
    return sums + "the planned epsilon holds against it"


def check_lines(document: Mapping[str, object]) -> list[RenderableType]:
    """The document as tables for a terminal."""
    from rich import box
    from rich.table import Column, Table
    from rich.text import Text

    lines: list[RenderableType] = []
    for section, content in document.items():
        columns = (Column(no_wrap=True), Column(overflow="fold"))
        title = section.replace("_", " ")
        table = Table(*columns, box=box.SIMPLE, show_header=False, title=title, title_justify="left")
        if isinstance(content, Mapping):
            rows = list(content.items())
        else:
            rows = [(row["who"], row["what"]) for row in _who_rows(content)]
        for name, value in rows:
            words = str(name) if section in _BY_COLUMN else str(name).replace("_", " ")
            table.add_row(Text(words), Text(_shown(str(name), value)))
        lines.append(table)
    return lines


def _shown(name: str, value: object) -> str:
    """A figure with its unit."""
    from fedmed.report.units import byte_size, duration

    if isinstance(value, list):
        return ", ".join(str(item) for item in value)
    if isinstance(value, float | int):
        if name.endswith(("_up", "_down")) or name in ("disk_bytes_per_node", "all_bytes"):
            return byte_size(value)
        if name.startswith("seconds"):
            return f"about {duration(value)}"
        return f"{value:.6g}" if isinstance(value, float) else f"{value:,}"
    return str(value)


def _who_rows(content: object) -> list[dict[str, str]]:
    """The rows of ``who_can_decrypt``; nothing for any other content."""
    return content if isinstance(content, list) else []


def _row(who: str, what: str) -> dict[str, str]:
    """One row of the table."""
    return {"who": who, "what": what}
