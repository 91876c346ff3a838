"""An operator's own key: made once, kept by the operator, and used to sign acts.

Threat model: the file is the operator's vote. It is unencrypted, so it belongs on a medium that only the
operator has; whoever copies it votes as the operator until the data holder takes the key out of policy.toml.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from fedmed.crypto.identity import Identity
from fedmed.errors import ConfigError, RaiseRefused, StoreFailed
from fedmed.governance.operators import ActKind, OperatorAct, require_operator_name
from fedmed.socket_messages import Budget
from fedmed.types import ActPlace
from fedmed_nodes import private_folder

_MOST_KEY_BYTES = 4_096


def create_operator_key(path: Path, name: str) -> bytes:
    """Make an operator's key file, mode 0600.

    Args:
        path: The new file.
        name: As the policy lists the operator.

    Returns:
        The public key, 32 bytes, for policy.toml.

    Raises:
        ConfigError: the name is not usable, or the file is there already: a key is never overwritten.
        StoreFailed: it cannot be written.
    """
    require_operator_name(name)
    identity = Identity.create(name)
    folder = _folder(path)
    try:
        private_folder.create_file(path.name, identity.private_bytes(), folder=folder)
    except FileExistsError:
        raise ConfigError(f"{path} is there already; nothing was changed. Name another file") from None
    except OSError as fault:
        raise StoreFailed(f"{path} cannot be written: {fault.strerror}") from fault
    finally:
        os.close(folder)
    return identity.public.signing_key


def read_operator_key(path: Path) -> Identity:
    """Read an operator's key file.

    Raises:
        ConfigError: there is none, or it is a link, another user's or open to others.
        IntegrityError: it is cut or altered.
    """
    folder = _folder(path)
    try:
        data = private_folder.read_file(path.name, folder=folder, path=path.parent, most=_MOST_KEY_BYTES)
    finally:
        os.close(folder)
    if data is None:
        raise ConfigError(f"there is no key file {path}; make one with fedmed node operator-key")
    return Identity.from_private_bytes(data)


def study_act(place: ActPlace, kind: ActKind, operator: str, *, study: bytes, reason: str) -> OperatorAct:
    """What an operator signs to approve or revoke a study here and now."""
    return OperatorAct(
        kind=kind,
        operator=operator,
        node=place.node,
        roster_digest=place.roster_digest,
        policy_digest=place.policy_digest,
        approvals_needed=max(1, place.approvals_needed),
        counter=place.counter + 1,
        previous=place.head,
        study_digest=study,
        reason=reason,
        signed_at=_now(),
    )


def raise_act(
    budget: Budget, operator: str, *, rows: tuple[str, int], cap_epsilon: float, reason: str
) -> OperatorAct:
    """What an operator signs to raise a year's cap.

    Args:
        budget: What the custodian shows now.
        operator: Who signs.
        rows: The dataset's name and the year that its rows describe.
        cap_epsilon: The new cap.
        reason: Why.

    Raises:
        RaiseRefused: there is no such dataset and year, or the cap is not above the present one.
    """
    there = {(d.name, d.data_year): d for d in budget.datasets}
    if rows not in there:
        known = ", ".join(f"{name} {year}" for name, year in there) or "none"
        raise RaiseRefused(f"no dataset {rows[0]} of year {rows[1]} is registered here, but {known}")
    found = there[rows]
    if not cap_epsilon > found.cap_epsilon:
        raise RaiseRefused(f"the cap is {found.cap_epsilon:g} already; a raise must be above it")
    place = budget.place
    return OperatorAct(
        kind=ActKind.RAISE,
        operator=operator,
        node=place.node,
        roster_digest=place.roster_digest,
        policy_digest=place.policy_digest,
        approvals_needed=max(1, place.approvals_needed),
        counter=place.counter + 1,
        previous=place.head,
        dataset_fingerprint=found.fingerprint,
        data_year=found.data_year,
        cap_epsilon=cap_epsilon,
        reason=reason,
        signed_at=_now(),
    )


def _now() -> str:
    """The present, whole seconds."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _folder(path: Path) -> int:
    """Descriptor of the folder that holds a key file; the file's own mode is what protects it."""
    try:
        return os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as fault:
        raise ConfigError(
            f"cannot open {path.parent}: {fault.strerror}; name a folder that is there"
        ) from None
