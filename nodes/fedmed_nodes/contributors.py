"""The scheme's half for each key epoch of a custodian: its keys stay in memory no longer than on disk."""

from __future__ import annotations

from fedmed.aggregation.ckks_node import CkksContributor
from fedmed.aggregation.contract import Contributor
from fedmed.aggregation.plain_node import PlainContributor
from fedmed.aggregation.threshold_node import ThresholdContributor
from fedmed.crypto.ckks_secret import CkksKeys
from fedmed.messages import NO_EPOCH
from fedmed.privacy.noise import ByteSource
from fedmed_nodes.ceremony_desk import CeremonyDesk


class Contributors:
    """Hands out `Contributor` by epoch; keys are read once a process."""

    def __init__(self, ceremonies: CeremonyDesk, entropy: ByteSource) -> None:
        """Read keys from a ceremony desk.

        Args:
            ceremonies: Where the keys are.
            entropy: Bytes for errors and smudging.
        """
        self._ceremonies = ceremonies
        self._entropy = entropy
        self._known: dict[bytes, Contributor] = {}

    def of(self, epoch_id: bytes) -> Contributor:
        """The half of the scheme whose keys the epoch has.

        Raises:
            EpochMismatch: the keys were destroyed, never dealt, or are past their day.
        """
        if epoch_id == NO_EPOCH:
            return PlainContributor()
        if not self._ceremonies.has_keys(epoch_id):
            self.forget(epoch_id)  # keys in memory end with those on disk
        if epoch_id not in self._known:
            keys = self._ceremonies.keys(epoch_id)
            self._known[epoch_id] = (
                CkksContributor(keys)
                if isinstance(keys, CkksKeys)
                else ThresholdContributor(keys, entropy=self._entropy)
            )
        return self._known[epoch_id]

    def forget(self, epoch_id: bytes) -> None:
        """Drop the keys of one epoch from memory."""
        self._known.pop(epoch_id, None)

    def clear(self) -> None:
        """Drop all keys from memory; those still on disk are read again."""
        self._known.clear()
