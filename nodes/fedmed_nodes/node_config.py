"""What a province's operator writes: ``node.toml`` and ``policy.toml``, each checked once and whole.

Neither file has a key that touches randomness: noise comes from the operating system and from nowhere else.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedmed.errors import ConfigError
from fedmed.governance.policy import Policy
from fedmed.study import PURPOSES
from fedmed.study_faults import readable_faults
from fedmed.types import Mode, Scheme
from fedmed_nodes.pieces import SOCKET
from fedmed_nodes.sources import PERSON

NODE_FILE: Final = "node.toml"
POLICY_FILE: Final = "policy.toml"

Text = Annotated[str, Field(min_length=1, max_length=4_096, pattern=r"^[^\x00-\x1f\x7f]+$")]
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
File = TypeVar("File", bound=BaseModel)


class _Table(BaseModel):
    """A section: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SocketTable(_Table):
    """``[socket]``: where the relay and the operator find the custodian, and who they are.

    Attributes:
        path: Absolute path; empty = ``run/custodian.sock`` in the home, which only the custodian's own user
            and root can reach.
        group: Group that may relay; empty = nobody but the custodian's user.
        operator_group: Group that may approve and look at budget and log, as well; its members must be in
            ``group`` too, which owns the socket.
    """

    path: Annotated[str, Field(pattern=r"^(/[^\x00-\x1f\x7f]*)?$")] = ""
    group: str = ""
    operator_group: str = ""


class DatasetTable(_Table):
    """``[[dataset]]``: one registered table.

    Attributes:
        name: As studies call it.
        path: CSV or Parquet; relative to the home.
        declared_persons: Insured persons in it, as the catalogue says publicly.
        data_year: Year that its rows describe.
        person: Column with the person's pseudonym; a study that names another one is refused.
    """

    name: Text
    path: Text
    declared_persons: Annotated[int, Field(ge=1)]
    data_year: Annotated[int, Field(ge=1900, le=9999)]
    person: Text = PERSON


class NodeFile(_Table):
    """``node.toml``.

    Attributes:
        version: 1.
        user: The custodian's own user; it owns the home.
        roster_digest: Digest of ``roster.bin`` in hexadecimal; empty until the operator pins it.
        socket: See `SocketTable`.
        dataset: Registered tables.
    """

    version: Literal[1]
    user: Text
    roster_digest: Digest = ""
    socket: SocketTable = SocketTable()
    dataset: tuple[DatasetTable, ...] = ()


class PolicyFile(_Table):
    """``policy.toml``: the fields of `fedmed.governance.policy.Policy`, explained there."""

    version: Literal[1]
    max_epsilon_per_study: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    max_epsilon_per_year: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    modes: tuple[Mode, ...] = (Mode.AGGREGATE,)
    schemes: tuple[Scheme, ...] = (Scheme.THRESHOLD,)
    purposes: tuple[str, ...] = PURPOSES
    min_cohort: Annotated[int, Field(ge=1)] = 100
    min_contributors: Annotated[int, Field(ge=3)] = 3
    min_dropouts: Annotated[int | None, Field(ge=0)] = None
    min_colluders: Annotated[int | None, Field(ge=0)] = None
    allow_continue: bool = False
    research: bool = False
    auto_approve: bool = False


def load_node(path: Path) -> NodeFile:
    """Read ``node.toml``.

    Raises:
        ConfigError: all faults in one error, a line each; an unknown key names the nearest right one.
    """
    node = _load(path, NodeFile)
    names = [dataset.name for dataset in node.dataset]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigError(f"{path}: dataset names must differ, {', '.join(doubled)} stands there twice")
    return node


def load_policy(path: Path) -> Policy:
    """Read ``policy.toml``.

    Raises:
        ConfigError: as for `load_node`, or a value that no policy may have.
    """
    written = _load(path, PolicyFile)
    # `Any`: the fields of the file, which has checked them, are those of the policy by name.
    values: dict[str, Any] = {name: getattr(written, name) for name in PolicyFile.model_fields}
    del values["version"]
    values |= {name: frozenset(values[name]) for name in ("modes", "schemes", "purposes")}
    try:
        return Policy(**values)
    except ConfigError as fault:
        raise ConfigError(f"{path}: {fault}") from None


def socket_of(node: NodeFile, home: Path) -> Path:
    """Where the custodian of a home listens."""
    return Path(node.socket.path) if node.socket.path else home / SOCKET


def _load(path: Path, kind: type[File]) -> File:
    """Read a TOML file into its model."""
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as fault:
        raise ConfigError(f"cannot read {path}: {fault.strerror}; make it with fedmed node init") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ConfigError(f"{path} is not TOML: {fault}") from None
    try:
        # By way of JSON, where strict types, arrays and the values of enums go together.
        return kind.model_validate_json(json.dumps(document, default=str))
    except ValidationError as fault:
        lines = readable_faults(fault.errors(include_url=False), kind)
        raise ConfigError("\n  ".join((f"{path} has {len(lines)} fault(s):", *lines))) from None


NODE_TEMPLATE: Final = """\
# This province's node. Unknown keys are refused.
version = 1
user = {user}              # the custodian runs as this user, which owns this folder
roster_digest = ""          # digest of roster.bin: compare it with the coordinator by telephone, then pin it

[socket]
# path = "/run/fedmed/custodian.sock"   # where a relay under another user can reach it
# group = "fedmed"                      # who may relay
# operator_group = "fedmed-operators"   # who may also approve and look at budget and log

# [[dataset]]
# name = "person_year"
# path = "/srv/fedmed/person_year.parquet"
# declared_persons = 120000             # public
# data_year = 2025
"""

POLICY_TEMPLATE: Final = """\
# What this province allows; the data holder writes it. Unknown keys are refused.
version = 1
max_epsilon_per_study = 1.0
max_epsilon_per_year = 2.0
min_cohort = 100
auto_approve = false        # every study waits for: fedmed node approve DIGEST
# modes = ["aggregate"]
# schemes = ["threshold"]
# purposes = ["academic_research"]      # all known purposes if left out
# min_contributors = 3
# min_dropouts = 1
# min_colluders = 1
# allow_continue = false
# research = false
"""
