"""What a custodian of scheme ``ckks`` makes of opened slots: whole numbers in range, or a refusal."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.aggregation.ckks_coordinator import CkksCombiner
from fedmed.aggregation.ckks_layout import Part, parts_of, slots_of
from fedmed.aggregation.ckks_node import CkksContributor, whole_fields
from fedmed.aggregation.contract import Opening
from fedmed.crypto.ckks_parameters import PRIMES, SLOTS, named_ckks_set
from fedmed.crypto.ckks_secret import CkksKeys, decrypted, encrypted, secret_context
from fedmed.errors import (
    ConfigError,
    LayoutMismatch,
    MessageMalformed,
    OpenersMiscounted,
    OpeningOutOfBounds,
    SetMalformed,
)
from fedmed.types import FloatArray, Layout
from tests.examples import at_most

KEYS = CkksKeys(bytes(range(32)), point=1, threshold=1)
PLAN = bytes(32)


def layout(values: int = 3, field_bits: int = 40) -> Layout:
    most = (1 << (field_bits - 1)) - 1
    return Layout(
        grid=1.0,
        limit=most // 8,
        tail=0,
        values=values,
        field_bits=field_bits,
        fields=1,
        parameter_set="ckks400",
        noise_scale=0.0,
    )


def opened(fields: list[int], given: Layout) -> tuple[list[FloatArray], Part]:
    """Slots as they would be opened from one contribution."""
    (part,) = parts_of(given)
    return list(slots_of(np.array(fields, np.uint64), given)), part


@settings(max_examples=at_most(20))
@given(
    field_bits=st.integers(2, 62),
    seed=st.integers(0, 2**32 - 1),
    error=st.floats(-0.24, 0.24),
)
def test_fields_of_any_width_come_back_whatever_the_error_below_a_quarter(
    field_bits: int, seed: int, error: float
) -> None:
    given_ = layout(5, field_bits) if field_bits > 4 else replace(layout(5), field_bits=field_bits, limit=1)
    fields = np.random.default_rng(seed).integers(0, min(2 * given_.offset, 2 ** (field_bits - 1) - 1) + 1, 5)
    slots, part = opened(fields.tolist(), given_)
    assert whole_fields([s + error for s in slots], part, given_, contributors=1).tolist() == fields.tolist()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 0.3, -0.3, -1.0, 2.0**21, 1e300])
@pytest.mark.parametrize("at", [0, 5])
def test_a_slot_that_is_no_number_in_its_range_is_refused(bad: float, at: int) -> None:
    slots, part = opened([0, 0, 0], layout())
    assert part.limbs == 2
    assert part.limb_bits == 20
    slots[0][at] = bad
    with pytest.raises(OpeningOutOfBounds):
        whole_fields(slots, part, layout(), contributors=1)


def test_padding_must_be_zero_and_a_field_within_what_contributors_can_declare() -> None:
    slots, part = opened([0, 0, 0], layout())
    slots[0][SLOTS - 1] = 1
    with pytest.raises(OpeningOutOfBounds, match="range"):
        whole_fields(slots, part, layout(), contributors=1)
    most = 2 * layout().offset
    assert whole_fields(*opened([most, 0, 1], layout()), layout(), contributors=1).tolist() == [most, 0, 1]
    with pytest.raises(OpeningOutOfBounds, match="declare"):
        whole_fields(*opened([most + 1, 0, 1], layout()), layout(), contributors=1)


def asked(given: Layout, **changes: object) -> Opening:
    opening = Opening(
        plan_digest=PLAN, layout=given, contributors=(1, 2, 3), openers=(1,), headers_digest=PLAN, sums=(b"",)
    )
    return replace(opening, **changes)  # type: ignore[arg-type]  # names of its fields


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"sums": ()}, MessageMalformed),
        ({"sums": (b"", b"")}, MessageMalformed),
        ({"contributors": ()}, SetMalformed),
        ({"contributors": (2, 1)}, SetMalformed),
        ({"contributors": (1, 1, 2)}, SetMalformed),
        ({"contributors": tuple(range(1, 402))}, LayoutMismatch),
        ({"openers": ()}, SetMalformed),
        ({"openers": (2,)}, OpenersMiscounted),
        ({"openers": (1, 2)}, OpenersMiscounted),
        ({"layout": replace(layout(), parameter_set="t8")}, ConfigError),
    ],
)
def test_an_opening_that_cannot_be_computed_is_refused(
    changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        CkksContributor(KEYS).open(asked(layout(), **changes))


def test_layouts_of_other_schemes_are_refused() -> None:
    other = replace(layout(), parameter_set="plain")
    with pytest.raises(ConfigError):
        CkksContributor(KEYS).contribute(np.zeros(3, np.uint64), plan_digest=PLAN, layout=other)
    with pytest.raises(ConfigError):
        CkksCombiner(other)


def test_a_contributor_shows_no_key() -> None:
    assert repr(CkksContributor(KEYS)) == "CkksContributor(point=1)"


@pytest.mark.slow
def test_openers_that_answer_unlike_give_no_total() -> None:
    given_, fields = layout(), np.array([1, 2, 3], np.uint64)
    combiner, node = CkksCombiner(given_), CkksContributor(KEYS)
    assert combiner.sums() == ()
    combiner.add_contribution(node.contribute(fields, plan_digest=PLAN, layout=given_))
    combiner.add_opening(node.open(asked(given_, contributors=(1,), sums=combiner.sums())))
    assert combiner.total().tolist() == [1, 2, 3]
    combiner.add_opening((bytes(64 + 8 * fields.size),))
    with pytest.raises(OpeningOutOfBounds, match="different"):
        combiner.total()


@pytest.mark.slow
def test_the_error_of_the_largest_sum_stays_below_the_bound_that_was_asserted() -> None:
    """400 nodes at the end of a slot's range; measured errors are far below the worst case."""
    one, context = named_ckks_set("ckks400"), secret_context(KEYS)
    rng = np.random.default_rng(5)
    slots = rng.choice([0.0, float((1 << one.limb_bits) - 1)], SLOTS)  # of both ends: all frequencies large
    residues = encrypted(context, slots)
    primes = np.array(PRIMES, np.uint64)[:, None]
    total = np.zeros_like(residues)
    for _ in range(one.max_nodes):
        total = (total + residues) % primes
    error = np.abs(decrypted(context, total) - one.max_nodes * slots).max()
    assert 0 < error < one.error < 0.25
