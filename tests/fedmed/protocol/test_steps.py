from __future__ import annotations

import pytest

from fedmed.errors import ConfigError
from fedmed.protocol.steps import LOST, PhaseKind, Reply


def test_a_reply_holds_parts_or_a_code_and_never_both() -> None:
    assert not Reply(parts=(b"x",)).is_refusal
    assert Reply(code=LOST).is_refusal
    with pytest.raises(ConfigError):
        Reply()
    with pytest.raises(ConfigError):
        Reply(parts=(b"x",), code=LOST)


def test_every_phase_is_one_of_flowers_message_types() -> None:
    kinds = [kind.value for kind in PhaseKind]
    assert len(set(kinds)) == len(kinds)
    assert all(kind.split(".")[0] in ("train", "query") for kind in kinds)
