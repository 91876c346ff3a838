"""What every secure sum must do; inherited by one test class a scheme."""

import itertools
from abc import ABC, abstractmethod

import numpy as np
import pytest

from fedmed.aggregation.contract import Opening
from fedmed.aggregation.encoding import CHUNK_COEFFICIENTS
from fedmed.errors import CiphertextMalformed, ConfigError, OpeningOutOfBounds
from fedmed.types import Layout

NODES = 4
PLAN = bytes(range(32))
HEADERS = bytes(range(32, 64))


class SecureSumContract(ABC):
    """Subclass as ``Test...`` and name the scheme's two halves; four nodes take part."""

    parameter_set: str
    openers_needed: int
    fields = 5

    @abstractmethod
    def contributors(self):
        """Four fresh `Contributor` of one federation, points 1 to 4."""

    @abstractmethod
    def combiner(self, layout):
        """A fresh `Combiner`."""

    @property
    def chunk(self):
        """Values that fill a chunk."""
        return CHUNK_COEFFICIENTS * self.fields

    def layout(self, values):
        """Fields of 28 bits: sums below 2**27 and offsets that let four nodes reach almost that."""
        return Layout(
            grid=1.0,
            limit=2**23,
            tail=2**22,
            values=values,
            field_bits=28,
            fields=self.fields,
            parameter_set=self.parameter_set,
            noise_scale=2.0**18,
        )

    def vectors(self, layout, count, seed=0):
        """Random fields with both ends of a node's range among them."""
        rng = np.random.default_rng(seed)
        top = 2 * layout.offset
        fields = rng.integers(0, top + 1, size=(count, layout.values), dtype=np.uint64)
        fields[:, 0], fields[:, -1] = 0, top
        return fields

    def contributed(self, nodes, fields, layout, points):
        return [
            nodes[p - 1].contribute(f, plan_digest=PLAN, layout=layout)
            for p, f in zip(points, fields, strict=True)
        ]

    def opened(self, nodes, layout, contributions, points, openers):
        combiner = self.combiner(layout)
        for chunks in contributions:
            combiner.add_contribution(chunks)
        asked = Opening(
            plan_digest=PLAN,
            layout=layout,
            contributors=points,
            openers=openers,
            headers_digest=HEADERS,
            sums=combiner.sums(),
        )
        return [nodes[p - 1].open(asked) for p in openers]

    def combined(self, layout, contributions, openings):
        combiner = self.combiner(layout)
        for chunks in contributions:
            combiner.add_contribution(chunks)
        for chunks in openings:
            combiner.add_opening(chunks)
        return combiner

    # One chunk partly filled, one full to the last value, one value into the second.
    @pytest.mark.parametrize(("chunks", "more"), [(0, 1), (0, 7), (1, 0), (1, 1)])
    def test_the_sum_is_exact_and_in_order(self, chunks, more):
        layout, points = self.layout(chunks * self.chunk + more), [1, 2, 3, 4]
        nodes, fields = self.contributors(), self.vectors(layout, NODES)
        contributions = self.contributed(nodes, fields, layout, points)
        openings = self.opened(nodes, layout, contributions, points, points[: self.openers_needed])
        combiner = self.combined(layout, contributions, openings)
        total = combiner.total()
        assert total.dtype == np.uint64
        assert np.array_equal(total, fields.sum(axis=0))
        assert np.array_equal(combiner.total(), total)

    def test_every_set_of_contributors_and_of_openers_gives_its_exact_sum(self):
        layout, nodes = self.layout(12), self.contributors()
        fields = self.vectors(layout, NODES)
        roster = range(1, NODES + 1)
        for size in (3, 4):
            for points in itertools.combinations(roster, size):
                chosen = fields[[p - 1 for p in points]]
                for openers in itertools.combinations(roster, self.openers_needed):
                    contributions = self.contributed(nodes, chosen, layout, points)
                    openings = self.opened(nodes, layout, contributions, points, openers)
                    total = self.combined(layout, contributions, openings).total()
                    assert np.array_equal(total, chosen.sum(axis=0))

    @pytest.mark.parametrize(
        "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))]
    )
    def test_the_order_of_additions_does_not_matter(self, seed):
        layout, points = self.layout(23), [1, 2, 3, 4]
        nodes, fields = self.contributors(), self.vectors(layout, NODES, seed=seed)
        contributions = self.contributed(nodes, fields, layout, points)
        openings = self.opened(nodes, layout, contributions, points, points[: self.openers_needed])
        steps = [("add_contribution", c) for c in contributions] + [("add_opening", o) for o in openings]
        combiner = self.combiner(layout)
        for i in np.random.default_rng(seed).permutation(len(steps)):
            method, chunks = steps[i]
            getattr(combiner, method)(chunks)
        assert np.array_equal(combiner.total(), fields.sum(axis=0))

    def test_all_zero_and_all_largest_fields_sum_exactly(self):
        layout, points = self.layout(10), [1, 2, 3, 4]
        nodes = self.contributors()
        for value in (0, 2 * layout.offset):
            fields = np.full((NODES, layout.values), value, np.uint64)
            contributions = self.contributed(nodes, fields, layout, points)
            openings = self.opened(nodes, layout, contributions, points, points[: self.openers_needed])
            combiner = self.combined(layout, contributions, openings)
            assert combiner.total().tolist() == [NODES * value] * layout.values

    @pytest.mark.parametrize("kind", ["contribution", "opening"])
    @pytest.mark.parametrize(
        "fault", ["a chunk less", "a chunk more", "no chunk", "a byte less", "a byte more"]
    )
    def test_a_malformed_payload_is_refused_and_leaves_no_trace(self, kind, fault):
        layout, points = self.layout(self.chunk + 1), [1, 2, 3, 4]
        nodes, fields = self.contributors(), self.vectors(layout, NODES)
        contributions = self.contributed(nodes, fields, layout, points)
        openings = self.opened(nodes, layout, contributions, points, points[: self.openers_needed])
        good = contributions[0] if kind == "contribution" else openings[0]
        bad = {
            "a chunk less": good[:-1],
            "a chunk more": (*good, good[-1]),
            "no chunk": (),
            "a byte less": (*good[:-1], good[-1][:-1]),
            "a byte more": (*good[:-1], good[-1] + b"\0"),
        }[fault]
        if bad == good:  # openings of this scheme are empty and cannot lose a byte
            bad = (*good[:-1], b"\0\0")
        combiner = self.combined(layout, contributions[:2], openings[:1])
        with pytest.raises(CiphertextMalformed):
            getattr(combiner, f"add_{kind}")(bad)
        for chunks in contributions[2:]:
            combiner.add_contribution(chunks)
        for chunks in openings[1:]:
            combiner.add_opening(chunks)
        assert np.array_equal(combiner.total(), fields.sum(axis=0))

    def test_a_number_out_of_range_in_the_last_chunk_leaves_the_first_untouched(self):
        layout, points = self.layout(self.chunk + 1), [1, 2, 3, 4]
        nodes, fields = self.contributors(), self.vectors(layout, NODES)
        contributions = self.contributed(nodes, fields, layout, points)
        openings = self.opened(nodes, layout, contributions, points, points[: self.openers_needed])
        combiner = self.combined(layout, contributions, openings)
        first, last = contributions[0]
        with pytest.raises(CiphertextMalformed):
            combiner.add_contribution((first, b"\xff" * len(last)))
        assert np.array_equal(combiner.total(), fields.sum(axis=0))

    def test_a_total_before_everything_is_there_is_refused(self):
        layout, points = self.layout(10), [1, 2, 3, 4]
        nodes, fields = self.contributors(), self.vectors(layout, NODES)
        contributions = self.contributed(nodes, fields, layout, points)
        openings = self.opened(nodes, layout, contributions, points, points[: self.openers_needed])
        for some in (([], []), (contributions, []), ([], openings)):
            with pytest.raises(OpeningOutOfBounds):
                self.combined(layout, *some).total()

    def test_a_set_guard_bit_is_refused(self):
        layout, points = self.layout(10), [1, 2, 3, 4]
        nodes = self.contributors()
        fields = np.zeros((NODES, 10), np.uint64)
        fields[:, 3] = 2**25  # four of them reach 2**27, the guard bit of 28-bit fields
        contributions = self.contributed(nodes, fields, layout, points)

        def opened_sum():
            openings = self.opened(nodes, layout, contributions, points, points[: self.openers_needed])
            return self.combined(layout, contributions, openings).total()

        with pytest.raises(OpeningOutOfBounds):  # from the openers already, where they see the sum
            opened_sum()

    @pytest.mark.parametrize(
        "fields",
        [
            np.zeros(9, np.uint64),
            np.zeros((10, 1), np.uint64),
            np.zeros(10, np.int64),
            np.full(10, 2**27, np.uint64),
        ],
        ids=["too short", "another shape", "signed", "guard bit set"],
    )
    def test_fields_that_do_not_belong_to_the_layout_are_refused(self, fields):
        with pytest.raises(ConfigError):
            self.contributors()[0].contribute(fields, plan_digest=PLAN, layout=self.layout(10))

    def test_arguments_are_left_as_they_were(self):
        layout = self.layout(10)
        nodes, fields = self.contributors(), self.vectors(layout, NODES)
        before = fields.copy()
        self.contributed(nodes, fields, layout, [1, 2, 3, 4])
        assert np.array_equal(fields, before)
