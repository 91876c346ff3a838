"""The coordinator's half of the canaries' coins: takes in the seals, and what they sealed.

Source: PRIVACY.md section 7.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedmed.errors import AuditFailed, MessageMalformed
from fedmed.messages import Roster
from fedmed.privacy.canaries import Coins, check_seal, owned
from fedmed.protocol import envelope
from fedmed.protocol.steps import LOST, Replies, Reply
from fedmed.types import DIGEST_BYTES


def read_seals(roster: Roster, replies: Replies, *, study_digest: bytes) -> dict[int, bytes]:
    """The seals that came with the answers to a proposal.

    Args:
        roster: The study's roster.
        replies: An acceptance of every node: its nonce, then its seal.
        study_digest: The study.

    Returns:
        32 bytes by roster point.

    Raises:
        IntegrityError: a node sent no seal, or its message does not hold.
        ProtocolError: likewise, for its form.
    """
    seals = {}
    for point in roster.points:
        content = _second_part(roster, point, replies, (envelope.AUDIT_SEAL, study_digest))
        if content is None:
            raise AuditFailed(f"{roster.member(point).name} accepted the study without sealing its canaries")
        if len(content) != DIGEST_BYTES:
            raise MessageMalformed(f"a seal must be {DIGEST_BYTES} bytes, got {len(content)}")
        seals[point] = content
    return seals


def read_coins(
    roster: Roster, replies: Replies, *, study_digest: bytes, seals: Mapping[int, bytes], canaries: int
) -> dict[int, Coins]:
    """The coins that came with the answers to a study's end.

    Args:
        roster: The study's roster.
        replies: What came back; a node that is lost has no coins.
        study_digest: The study.
        seals: By roster point, from before the first round.
        canaries: Coordinates of the audit block.

    Returns:
        Coins by roster point, of the nodes that answered.

    Raises:
        AuditFailed: a node showed other coins than it had sealed, or none at all.
        IntegrityError, ProtocolError: a message does not hold.
    """
    found = {}
    for point in roster.points:
        if replies.get(point, Reply(code=LOST)).is_refusal:
            continue
        name, own = roster.member(point).name, owned(canaries, point, nodes=len(roster.members))
        content = _second_part(roster, point, replies, (envelope.AUDIT_COINS, study_digest))
        if content is None:
            raise AuditFailed(f"{name} ended the study without showing the coins of its canaries")
        coins = Coins.from_bytes(content, count=own.stop - own.start)
        check_seal(coins, seals.get(point, b""), study_digest=study_digest, node=name)
        found[point] = coins
    return found


def _second_part(roster: Roster, point: int, replies: Replies, due: tuple[str, bytes]) -> bytes | None:
    """What a reply's second part says; None where there is none. ``due``: its type and the study."""
    parts = replies[point].parts
    if len(parts) < 2:
        return None
    message_type, study_digest = due
    statement = envelope.open_message(
        parts[1],
        message_type,
        roster.member(point),
        context=study_digest,
        receiver=roster.coordinator.name,
    )
    return statement.content
