import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedmed.aggregation.allowance import default_allowance
from fedmed.errors import ConfigError
from tests.examples import at_most


def numbers(allowance):
    return allowance.threshold, allowance.dropouts, allowance.colluders, allowance.min_contributors


@pytest.mark.parametrize(("nodes", "expected"), [(3, (3, 0, 1, 3)), (4, (3, 1, 1, 3)), (31, (21, 4, 10, 12))])
def test_the_defaults_are_those_of_the_protocol(nodes, expected):
    assert numbers(default_allowance(nodes)) == expected  # source: PROTOCOL.md section 5


@settings(deadline=None, max_examples=at_most(50))
@given(nodes=st.integers(3, 400), data=st.data())
def test_defaults_keep_the_promises_for_every_federation(nodes, data):
    planned = data.draw(st.integers(3, nodes))
    allowance = default_allowance(nodes, planned=planned)
    t, d, c = allowance.threshold, allowance.dropouts, allowance.colluders
    assert 3 * t >= 2 * nodes + 1 > 3 * (t - 1)
    assert 0 <= c <= min(t - 1, 2 * t - nodes - 1, allowance.least_set - 2)
    assert planned - d - c >= 2
    assert 0 <= d <= max(0, planned - t)
    assert allowance.least_set <= planned


@settings(deadline=None, max_examples=200)
@given(
    nodes=st.integers(3, 40),
    threshold=st.integers(0, 41),
    dropouts=st.integers(-1, 10),
    colluders=st.integers(-1, 20),
)
def test_an_own_choice_is_kept_or_refused_never_changed(nodes, threshold, dropouts, colluders):
    try:
        allowance = default_allowance(nodes, threshold=threshold, dropouts=dropouts, colluders=colluders)
    except ConfigError:
        return
    assert numbers(allowance)[:3] == (threshold, dropouts, colluders)
    assert colluders <= min(threshold - 1, 2 * threshold - nodes - 1, allowance.least_set - 2)
    assert allowance.honest_contributors >= 2


@pytest.mark.parametrize(
    ("nodes", "choice", "named"),
    [
        (2, {}, "nodes"),
        (4, {"planned": 2}, "planned_contributors"),
        (4, {"planned": 5}, "planned_contributors"),
        (4, {"threshold": 0}, "threshold"),
        (4, {"threshold": 5}, "threshold"),
        (4, {"threshold": 2}, "threshold"),
        (4, {"dropouts": -1}, "dropouts"),
        (4, {"dropouts": 3, "colluders": 0}, "dropouts"),
        (4, {"colluders": -1}, "colluders"),
        (4, {"colluders": 2, "dropouts": 0}, "colluders"),
        (5, {"threshold": 3, "colluders": 1}, "colluders"),
        (4, {"min_contributors": 5}, "min_contributors"),
        (4, {"min_contributors": 0}, "min_contributors"),
    ],
)
def test_what_the_protocol_cannot_keep_is_refused_by_name(nodes, choice, named):
    with pytest.raises(ConfigError, match=named):
        default_allowance(nodes, **choice)


def test_a_study_may_lower_its_allowance():
    assert numbers(default_allowance(4, dropouts=0, colluders=0)) == (3, 0, 0, 3)
    assert default_allowance(4, dropouts=0, colluders=0).honest_contributors == 4
