import numpy as np

from fedmed.aggregation.plain_coordinator import PlainCombiner
from fedmed.aggregation.plain_node import PlainContributor
from tests.contracts.secure_sum_contract import NODES, PLAN, SecureSumContract


class TestPlain(SecureSumContract):
    parameter_set = "plain"
    openers_needed = 3

    def contributors(self):
        return [PlainContributor() for _ in range(NODES)]

    def combiner(self, layout):
        return PlainCombiner(layout)

    def test_a_contribution_is_the_fields_as_little_endian_words(self):
        layout = self.layout(3)
        fields = np.array([0, 1, 2**24 + 255], np.uint64)
        (chunk,) = PlainContributor().contribute(fields, plan_digest=PLAN, layout=layout)
        assert chunk.hex() == "0000000000000000" + "0100000000000000" + "ff00000100000000"

    def test_a_running_sum_never_wraps_round(self):
        layout = self.layout(1)
        combiner = self.combiner(layout)
        combiner._sum[:] = 2**62 - 1  # as after 2**35 contributions
        (chunk,) = PlainContributor().contribute(
            np.array([2**27 - 1], np.uint64), plan_digest=PLAN, layout=layout
        )
        combiner.add_contribution((chunk,))
        assert combiner._sum.tolist() == [2**62]
