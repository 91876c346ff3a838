"""What ``[audit]`` adds to the file of a training study."""

from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.study import canonical_bytes, from_canonical_bytes, load_study, to_toml
from tests.small_province import small_study


def test_canaries_are_part_of_what_provinces_approve() -> None:
    audited = small_study(audit__canaries=400)
    assert load_study(to_toml(audited)) == audited
    assert from_canonical_bytes(canonical_bytes(audited)) == audited
    assert b'"audit":{"canaries":400}' in canonical_bytes(audited)
    assert b'"audit"' not in canonical_bytes(small_study()), "older studies keep their digests"


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"audit__canaries": 99}, "audit.canaries: must be >= 100"),
        ({"audit__canaries": 5000}, "audit.canaries: must be <= 4096"),
        ({"audit__canary": 400}, "did you mean canaries"),
        ({"audit__canaries": 400, "privacy__mode": "local"}, 'only privacy.mode = "aggregate"'),
    ],
)
def test_an_audit_that_cannot_be_is_a_fault_of_the_file(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError) as fault:
        small_study(**changes)  # type: ignore[arg-type]  # keys of the study file
    assert says in str(fault.value)


def test_every_node_needs_a_canary() -> None:
    with pytest.raises(ConfigError, match="at least the 101 declared nodes, got 100"):
        small_study(101, audit__canaries=100)
