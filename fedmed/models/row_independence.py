"""Proof, run on the machine at hand, that a person's gradient does not depend on who else is there.

The differential privacy of a clipped sum needs it (PROTOCOL.md section 5), and the linear algebra library
decides it: a custodian runs this once at start, for each model it trains, and does not train if it fails.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedmed.data.examples import Examples
from fedmed.errors import RowsNotIndependent
from fedmed.models.gradients import PersonSignals, person_signals
from fedmed.models.layout import ModelLayout, PersonClip
from fedmed.types import FloatArray, IntArray, require

AnyFloats = npt.NDArray[np.float32] | npt.NDArray[np.float64]

Compute = Callable[[Examples, int], PersonSignals]
"""Signals of examples with a number of threads."""

_LENGTHS = (1, 3, 17, 7, 2, 19, 1, 40)
"""Rows of successive persons: single rows, both ways to a norm, every size of cross terms, and persons
across a block's edge."""

_PERSONS = 64
_SPAN = 1 << 19
"""Inputs of the trial data at most, so that a wide model is proven in the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Surrounding:
    """Trial examples, and where the compared persons are in them."""

    name: str
    examples: Examples
    persons: IntArray
    places: IntArray


def prove_row_independence(layout: ModelLayout, *, threads: int) -> None:
    """Compare every bit of each person's signals, norm and clip factor in several surroundings.

    Persons are computed in place, with the first ones gone (all rows shifted), alone, in another order, and
    with every second person's rows zeroed; each of these with one thread and with all.

    Args:
        layout: The model that will be trained; its widths decide which code the library runs.
        threads: Most threads that the custodian will use.

    Raises:
        RowsNotIndependent: a bit differs; the message names the surrounding.
        ConfigError: threads < 1.
    """
    require(threads >= 1, f"threads must be >= 1, got {threads}")
    parameters = _trial_parameters(layout)
    clip = PersonClip(norm=1.0, rows="mean")

    def compute(examples: Examples, count: int) -> PersonSignals:
        return person_signals(parameters, examples, layout=layout, clip=clip, threads=count)

    check_surroundings(compute, trial_examples(layout), threads=threads)


def check_surroundings(compute: Compute, examples: Examples, *, threads: int) -> None:
    """Run one way of computing signals in every surrounding.

    Args:
        compute: The computation under trial.
        examples: Persons to try it on; dense inputs only.
        threads: Most threads.

    Raises:
        RowsNotIndependent: a bit differs.
    """
    expected = compute(examples, 1)
    for count in sorted({1, threads}):
        for surrounding in _surroundings(examples):
            found = compute(surrounding.examples, count)
            rows = _rows_of(examples.person_starts, surrounding.persons)
            places = _rows_of(surrounding.examples.person_starts, surrounding.places)
            same = [
                *_equal_bits(expected.of_rows, found.of_rows, rows, places),
                *_equal_bits(expected.of_persons, found.of_persons, surrounding.persons, surrounding.places),
            ]
            if not all(same):
                raise RowsNotIndependent(
                    f"persons {surrounding.name}, {count} threads: another result for the same person; "
                    "install the torch build that constraints.txt names, or use another processor"
                )


def trial_examples(layout: ModelLayout) -> Examples:
    """Made-up persons with 1 to 40 rows, some across the edge of a block.

    Args:
        layout: Gives the width.

    Returns:
        Dense rows, uniform in [-1, 1]; fewer persons for wide models.
    """
    draws = np.random.default_rng(11)
    persons = max(len(_LENGTHS), min(_PERSONS, _SPAN // (11 * layout.inputs)))
    starts = np.cumsum([0, *np.resize(_LENGTHS, persons)])
    rows = int(starts[-1])
    return Examples(
        dense=draws.uniform(-1.0, 1.0, (rows, layout.inputs)).astype(np.float32),
        code_starts=np.zeros(rows + 1, dtype=np.int64),
        codes=np.zeros(0, dtype=np.int32),
        code_inputs=0,
        labels=draws.integers(0, 2, rows).astype(np.float32),
        person_starts=starts.astype(np.int64),
    )


def _trial_parameters(layout: ModelLayout) -> FloatArray:
    """Ordinary magnitudes: rounding differs where sums have many digits."""
    draws = np.random.default_rng(13)
    shapes = layout.shapes
    return layout.flatten(
        {name: draws.normal(0.0, shape[-1] ** -0.5, shape) for name, shape in shapes.items()}
    )


def _rows_of(starts: IntArray, persons: IntArray) -> IntArray:
    """Positions of the rows of the persons, in the persons' order."""
    return np.concatenate([np.arange(starts[person], starts[person + 1]) for person in persons])


def _equal_bits(
    expected: Sequence[AnyFloats], found: Sequence[AnyFloats], left: IntArray, right: IntArray
) -> list[bool]:
    """Whether each array holds the same bytes at ``left`` as its twin at ``right``."""
    return [a[left].tobytes() == b[right].tobytes() for a, b in zip(expected, found, strict=True)]


def _surroundings(examples: Examples) -> Iterator[_Surrounding]:
    """The same persons with others before, beside and after them, or without."""
    everyone = np.arange(examples.persons)
    for name, persons in (
        ("in place", everyone),
        ("shifted by one person", everyone[1:]),
        ("shifted by many", everyone[examples.persons // 3 :]),
        ("alone", everyone[-1:]),
        ("with one other", everyone[2:4]),
        ("with a few others", everyone[4:8]),
        ("in another order", np.random.default_rng(7).permutation(everyone)),
    ):
        yield _Surrounding(
            name=name,
            examples=_chosen(examples, persons),
            persons=persons,
            places=np.arange(persons.shape[0]),
        )
    dense = examples.dense.copy()
    dense[_rows_of(examples.person_starts, everyone[1::2])] = 0.0
    yield _Surrounding(
        name="beside zeroed ones",
        examples=dataclasses.replace(examples, dense=dense),
        persons=everyone[::2],
        places=everyone[::2],
    )


def _chosen(examples: Examples, persons: IntArray) -> Examples:
    """The given persons only, in the given order."""
    rows = _rows_of(examples.person_starts, persons)
    lengths = np.diff(examples.person_starts)[persons]
    return dataclasses.replace(
        examples,
        dense=examples.dense[rows],
        code_starts=np.zeros(rows.shape[0] + 1, dtype=np.int64),
        labels=examples.labels[rows],
        person_starts=np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths)]),
    )
