"""Writes a new study file: with comments, to be read, corrected and agreed on by people."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from fedmed.cli.demo_study import DEMO_TRAINING, feature_table
from fedmed.cli.tables import ROW_NUMBER
from fedmed.errors import ConfigError
from fedmed.study import TrainingStudy
from fedmed.types import FloatArray, Label

if TYPE_CHECKING:
    import pyarrow as pa

    from fedmed.data.feature_sets.definition import FeatureSet

MOST_CATEGORIES = 20
# With few bounded inputs a person's gradient is short; a wider clip buys nothing and costs noise.
DENSE_CLIP = 1.0
BOUNDS_WARNING = """\
# Bounds, categories and counts are public and go to every party: they must come from PUBLIC KNOWLEDGE
# (a regulation, a code list, a yearbook), never from the rows. Values beyond a bound count as the bound."""
PROPOSED_WARNING = """\
# FedMed looked into the file on this machine and proposes what follows, wide and round, so that you have
# something to correct. Replace every number by one you can give a public source for; then delete this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a file suggests for ``[data]``.

    Attributes:
        person: Person column; `ROW_NUMBER` where the file has none.
        label: The outcome.
        features: One inline table of TOML each.
        left_out: Columns not proposed, with the reason.
        declared: Node key to a number of persons, rounded to two digits.
    """

    person: str
    label: Label
    features: tuple[str, ...]
    left_out: tuple[str, ...]
    declared: Mapping[str, int]


def parse_label(text: str) -> Label:
    """Read ``COLUMN`` or ``COLUMN>=NUMBER``.

    Raises:
        ConfigError: what follows ``>=`` is not a finite number.
    """
    column, sign, bound = (part.strip() for part in text.partition(">="))
    if not column:
        raise ConfigError(f"--label must be COLUMN or COLUMN>=NUMBER, got {text!r}")
    if not sign:
        return Label(column=column)
    try:
        at_least = float(bound)
    except ValueError:
        at_least = math.nan
    if not math.isfinite(at_least):
        raise ConfigError(f"--label: {bound!r} is not a finite number; write for instance cost>=20000")
    return Label(column=column, at_least=at_least)


def propose(tables: Mapping[str, pa.Table], *, label: Label, person: str) -> Proposal:
    """Look at a file's columns and propose features with wide, round bounds.

    Args:
        tables: Rows by node key.
        label: The outcome.
        person: Person column.

    Raises:
        ConfigError: the label or person column is not there.
    """
    names = next(iter(tables.values())).column_names
    for role, name in (("--label", label.column), ("--person", person)):
        if name not in names:
            raise ConfigError(f"{role} {name}: no such column; the file has {', '.join(names)}")
    features: list[str] = []
    left_out: list[str] = []
    for name in names:
        if name not in (label.column, person):
            line = _proposed_feature(name, [table.column(name) for table in tables.values()])
            (features if line else left_out).append(line or name)
    if not features:
        raise ConfigError("no column is fit to be a feature: numbers, or text of at most 20 values")
    declared = {node: _two_digits(_distinct(table.column(person))) for node, table in tables.items()}
    return Proposal(
        person=person, label=label, features=tuple(features), left_out=tuple(left_out), declared=declared
    )


def proposed_text(proposal: Proposal, *, study_id: str, expires: str) -> str:
    """The file for a proposal; `load_study` reads it as it stands."""
    label = [f"column = {_quoted(proposal.label.column)}"]
    if proposal.label.at_least is not None:
        label.append(f"at_least = {proposal.label.at_least!r}")
    whose = (
        f'person = "{ROW_NUMBER}"   # the file names no persons: every row is taken for one person'
        if proposal.person == ROW_NUMBER
        else f"person = {_quoted(proposal.person)}   # all rows of one value are one person"
    )
    data = [
        'dataset = "uploaded"   # name of the dataset at every node',
        whose,
        f"label = {{ {', '.join(label)} }}   # 0/1; at_least makes it from a number",
        PROPOSED_WARNING,
        "features = [",
        *(f"  {line}," for line in proposal.features),
        "]",
        *(f"# left out, text with many values: {name}" for name in proposal.left_out),
    ]
    identity = (study_id, expires)
    return _file(data, proposal.declared, identity=identity, clip_and_rate=(DENSE_CLIP, 1.0))


def demonstration_text(spec: TrainingStudy, features: tuple[str, ...]) -> str:
    """The file for the demonstration's study."""
    label = spec.data.label
    data = [
        f"dataset = {_quoted(spec.data.dataset)}   # name of the dataset at every node",
        f"person = {_quoted(spec.data.person)}   # all rows of one value are one person",
        "# The outcome: next year's cost in yuan at or above a public number.",
        f"label = {{ column = {_quoted(label.column)}, at_least = {label.at_least!r} }}",
        BOUNDS_WARNING,
        "features = [",
        *(f"  {line}," for line in features),
        "]",
    ]
    identity = (spec.id, str(spec.expires))
    clip_and_rate = (spec.privacy.clip_norm, spec.training.learning_rate)
    return _file(data, spec.data.declared_persons, identity=identity, clip_and_rate=clip_and_rate)


def derived_text(features: FeatureSet, *, label: Label, declared: Mapping[str, int], expires: str) -> str:
    """The file for a study of a derived dataset: columns and bounds are the feature set's own.

    Args:
        features: The set, which the study names by digest.
        label: One of its outcomes with a threshold.
        declared: Node key to a number of persons, rounded up to two digits.
        expires: Last day, ISO 8601.

    Raises:
        ConfigError: the label is none of the set's outcomes, or has no threshold.
    """
    outcomes = [one.name for one in features.outcomes]
    if label.column not in outcomes or label.at_least is None:
        raise ConfigError(
            f"--label must be one of {', '.join(outcomes)} with a threshold, such as {outcomes[0]}>=20000"
        )
    data = [
        f"dataset = {_quoted(features.name)}   # name of the dataset at every node",
        'person = "psn_no"   # all rows of one value are one person',
        "# How the columns are made: a province that derives them by another set refuses this study.",
        f"feature_set = {_quoted(features.reference)}",
        f"label = {{ column = {_quoted(label.column)}, at_least = {label.at_least!r} }}",
        BOUNDS_WARNING,
        "features = [",
        *(f"  {inline_table(feature_table(one.feature))}," for one in features.features),
        "]",
    ]
    rounded = {node: _up_to_two_digits(count) for node, count in declared.items()}
    identity = (features.name.replace("_", "-"), expires)
    clip_and_rate = (DEMO_TRAINING["clip_norm"], DEMO_TRAINING["learning_rate"])
    return _file(data, rounded, identity=identity, clip_and_rate=clip_and_rate)


def inline_table(table: Mapping[str, object]) -> str:
    """A feature as an inline table of TOML."""
    return "{ " + ", ".join(f"{key} = {_value(value)}" for key, value in table.items()) + " }"


def _file(
    data: list[str],
    declared: Mapping[str, int],
    *,
    identity: tuple[str, str],
    clip_and_rate: tuple[float, float],
) -> str:
    """All sections, every one with what it means; ``identity`` is the study's id and last day."""
    study_id, expires = identity
    settings = _SETTINGS.format(clip_norm=clip_and_rate[0], learning_rate=clip_and_rate[1])
    head = [
        "# A FedMed study. Provinces approve the digest of what it says (comments do not count).",
        "# Look at it before running it: fedmed study check THIS_FILE",
        "",
        "[study]",
        f"id = {_quoted(study_id)}",
        'title = "What this study asks, in one line"',
        'purpose = "academic_research"   # one of the purpose codes; a wrong one lists them all',
        'owner = "Who answers for it"',
        f"expires = {expires}   # last day on which a province answers",
        "",
        "[data]",
    ]
    tail = [
        "held_out = 0.3      # share of persons kept from training, chosen by a hash of the pseudonym",
        "min_cohort = 100    # a province with fewer insured persons refuses",
        "",
        "[data.declared_persons]   # PUBLIC number of insured persons at each node, in roster order",
        *(f"{node} = {count}" for node, count in declared.items()),
    ]
    return "\n".join([*head, *data, *tail, "", *settings.splitlines()]) + "\n"


_SETTINGS = """\
[model]
kind = "logistic"   # or "mlp" with hidden = [64]

[privacy]
epsilon = 1.0       # what one insured person may lose by the whole study, all rows together
clip_norm = {clip_norm:.1f}     # bound of one person's gradient: 1 for a few numbers, 3 for hundreds of codes
# delta defaults to min(1e-5, 1 / (10 * training persons))

[aggregation]
scheme = "threshold"   # for comparison: "ckks", whose key every province holds; "plain", in the clear
on_dropout = "stop"    # or "continue", where every policy allows it
# threshold, dropouts, colluders and min_contributors default to the protocol's values for this many nodes

[training]
aggregations = 40   # each one costs privacy; 10 to 40 are usual
learning_rate = {learning_rate}
momentum = 0.9
rows_of_a_person = "mean"   # or "sum"

[report]
baselines = true    # simulations only: train the comparison arms as well
bins = 20"""


def _proposed_feature(name: str, parts: list[pa.ChunkedArray]) -> str | None:
    """An inline table for a column, or None for text with many values."""
    from fedmed.data.columns import as_numbers, as_text
    from fedmed.errors import DataContractError

    try:
        bounds = [_range(as_numbers(_whole(part), name=name)) for part in parts]
    except DataContractError:
        values: set[str] = set()
        for part in parts:
            values.update(value for value in as_text(_whole(part)).unique().to_pylist() if value)
        if not 0 < len(values) <= MOST_CATEGORIES:
            return None
        return inline_table({"name": name, "kind": "category", "categories": sorted(values)})
    low, high = min(b[0] for b in bounds), max(b[1] for b in bounds)
    # A yes/no column already has its public bounds.
    is_share = low >= 0 and high <= 1
    low, high = (0.0, 1.0) if is_share else (0.0 - _round_up(-low), _round_up(high))
    return inline_table({"name": name, "kind": "number", "low": low, "high": max(high, low + 1.0)})


def _range(values: FloatArray) -> tuple[float, float]:
    """Least and greatest value; (0, 0) where all are missing."""
    known = values[~np.isnan(values)]
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)


def _round_up(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten that is at least half as large again; 0 for negatives."""
    if value <= 0:
        return 0.0
    wanted = 1.5 * value
    power = 10.0 ** math.floor(math.log10(wanted))
    return float(next(step * power for step in (1, 2, 5, 10) if step * power >= wanted * (1 - 1e-9)))


def _two_digits(count: int) -> int:
    """A count rounded to two digits, so that the proposal is not the exact number of rows."""
    unit: int = 10 ** max(0, len(str(count)) - 2)
    return max(1, round(count / unit) * unit)


def _up_to_two_digits(count: int) -> int:
    """A count rounded up to two digits: what is declared must not be less than there are."""
    unit: int = 10 ** max(0, len(str(count)) - 2)
    return max(1, -(-count // unit) * unit)


def _distinct(persons: pa.ChunkedArray) -> int:
    """How many different pseudonyms a column holds."""
    return len(set(persons.to_pylist()))


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    import pyarrow as pa

    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _value(value: object) -> str:
    """A text, number, truth value or list of texts as TOML."""
    if isinstance(value, list):
        return "[" + ", ".join(_quoted(str(item)) for item in value) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return _quoted(value) if isinstance(value, str) else repr(value)


def _quoted(text: str) -> str:
    """A basic string of TOML; JSON escapes alike, except for DEL."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
