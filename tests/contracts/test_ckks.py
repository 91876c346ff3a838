import numpy as np
import pytest

from fedmed.aggregation.ckks_coordinator import CkksCombiner
from fedmed.aggregation.ckks_node import CkksContributor
from fedmed.crypto.ckks_secret import CkksKeys
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

    def test_equal_fields_give_unlike_contributions(self):
        layout, points = self.layout(500), [1, 2, 3, 4]
        zeros = np.zeros((NODES, layout.values), np.uint64)
        first, *others = self.contributed(self.contributors(), zeros, layout, points)
        assert all(first != other for other in others)
