import numpy as np
import pytest

from fedmed.aggregation.ckks_coordinator import CkksCombiner
from fedmed.aggregation.ckks_node import CkksContributor
from fedmed.crypto.ckks_secret import CkksKeys
from fedmed.errors import OpeningOutOfBounds
from tests.contracts.secure_sum_contract import NODES, SecureSumContract


@pytest.fixture(scope="module")
def epoch():
    return [CkksContributor(CkksKeys(bytes(range(32)), point=p, threshold=3)) for p in range(1, NODES + 1)]


@pytest.mark.slow
class TestCkks(SecureSumContract):
    parameter_set = "ckks400"
    openers_needed = 3
    fields = 1

    @pytest.fixture(autouse=True)
    def _nodes(self, epoch):
        self.nodes = epoch

    def contributors(self):
        return self.nodes

    def combiner(self, layout):
        return CkksCombiner(layout)

    def test_one_answer_less_or_one_twice_opens_nothing(self):
        layout, points = self.layout(5), [1, 2, 3, 4]
        nodes, fields = self.contributors(), self.vectors(layout, NODES)
        contributions = self.contributed(nodes, fields, layout, points)
        openings = self.opened(nodes, layout, contributions, points, [1, 2, 4])
        assert np.array_equal(self.combined(layout, contributions, openings).total(), fields.sum(axis=0))
        for left_out in range(3):
            some = openings[:left_out] + openings[left_out + 1 :]
            for wrong in (some, [*some, some[0]]):
                with pytest.raises(OpeningOutOfBounds, match="share"):
                    self.combined(layout, contributions, wrong).total()

    def test_answers_to_two_questions_open_nothing(self):
        layout, points = self.layout(5), [1, 2, 3, 4]
        nodes, fields = self.contributors(), self.vectors(layout, NODES)
        contributions = self.contributed(nodes, fields, layout, points)
        whole = self.opened(nodes, layout, contributions, points, [1, 2, 3])
        fewer = self.opened(nodes, layout, contributions[:3], points[:3], [1, 2, 3])
        others = self.opened(nodes, layout, contributions, points, [1, 2, 4])
        for mixed in ([whole[0], whole[1], fewer[2]], [whole[0], whole[1], others[2]]):
            with pytest.raises(OpeningOutOfBounds, match="different"):
                self.combined(layout, contributions, mixed).total()

    def test_equal_fields_give_unlike_contributions(self):
        layout, points = self.layout(500), [1, 2, 3, 4]
        zeros = np.zeros((NODES, layout.values), np.uint64)
        first, *others = self.contributed(self.contributors(), zeros, layout, points)
        assert all(first != other for other in others)
