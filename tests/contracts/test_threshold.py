import numpy as np
import pytest

from fedmed.aggregation.threshold_coordinator import ThresholdCombiner
from fedmed.aggregation.threshold_node import ThresholdContributor, insecure_epoch_keys
from fedmed.errors import OpeningOutOfBounds
from fedmed.privacy.noise import insecure_source
from tests.contracts.secure_sum_contract import NODES, SecureSumContract


@pytest.fixture(scope="module")
def epoch_keys():
    return insecure_epoch_keys(NODES, 3, source=insecure_source(1))


class TestThreshold(SecureSumContract):
    parameter_set = "t8"
    openers_needed = 3

    @pytest.fixture(autouse=True)
    def _keys(self, epoch_keys):
        self.keys = epoch_keys

    def contributors(self):
        return [ThresholdContributor(keys) for keys in self.keys]

    def combiner(self, layout):
        return ThresholdCombiner(layout)

    def test_one_answer_less_opens_nothing(self):
        # 100 coefficients: that random residues pass all bounds has a chance below 2**-500.
        layout, points = self.layout(500), [1, 2, 3, 4]
        nodes, fields = self.contributors(), self.vectors(layout, NODES)
        contributions = self.contributed(nodes, fields, layout, points)
        openings = self.opened(nodes, layout, contributions, points, [1, 2, 3])
        for left_out in range(3):
            some = openings[:left_out] + openings[left_out + 1 :]
            with pytest.raises(OpeningOutOfBounds):
                self.combined(layout, contributions, some).total()

    def test_a_contribution_less_than_answered_for_opens_nothing(self):
        layout, points = self.layout(500), [1, 2, 3, 4]
        nodes, fields = self.contributors(), self.vectors(layout, NODES)
        contributions = self.contributed(nodes, fields, layout, points)
        openings = self.opened(nodes, layout, contributions, points, [1, 2, 3])
        with pytest.raises(OpeningOutOfBounds):
            self.combined(layout, contributions[:3], openings).total()

    def test_equal_fields_give_unlike_contributions_without_the_fields_zeros(self):
        layout, points = self.layout(500), [1, 2, 3, 4]
        nodes = self.contributors()
        zeros = np.zeros((NODES, layout.values), np.uint64)
        first, *others = self.contributed(nodes, zeros, layout, points)
        assert all(first != other for other in others)
        # Of 2,800 bytes about 16 are zero, as the highest byte of a residue has six bits.
        assert first[0].count(b"\0") < 3 * len(first[0]) / 256 + 30
