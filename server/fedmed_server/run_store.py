"""Keeps a running study on disk, so that a killed ServerApp goes on where it stood.

A folder holds the state after the proposal and each aggregation, the replies of every phase since then, and
what each opened sum is made of.
What lies here is what the coordinator sees anyway: ciphertexts, opened noisy sums, public parameters.
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from fedmed.errors import ConfigError, IntegrityError
from fedmed.programs.contract import Arrays
from fedmed.protocol.coordinator_round import Standing
from fedmed.protocol.steps import Replies, Reply
from fedmed.release.exchange import Exchange
from fedmed_server.files import create_private, pack, private_folder, read_private, replace_private, unpack
from fedmed_server.study_flow import RoundSummary, StudyState

_RUN: Final = "run.bin"
_STATE: Final = "state.bin"
_END: Final = "end.bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Began:
    """What a run began with; a resumed one must begin with the same.

    Attributes:
        study_digest: The study.
        roster_digest: The roster.
        today: The coordinator's date then.
    """

    study_digest: bytes
    roster_digest: bytes
    today: datetime.date


class RunStore:
    """The disk of one run; a `fedmed_server.journal.Journal`. Make it with `opened_store`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._due = 1 + (self._state_head()["phases"] if self._has(_STATE) else 0)

    def begin(self, began: Began, *, resume: bool) -> Began:
        """Begin a run, or go on with the one that is there.

        Args:
            began: What this run would begin with.
            resume: Whether a run must be there already; it may not be otherwise.

        Returns:
            What the run began with: a resumed one keeps its first day.

        Raises:
            ConfigError: there is a run and ``resume`` is off, there is none and it is on, it is over, or it
                began with another study or roster.
        """
        if not resume:
            if self._has(_RUN):
                raise ConfigError("this study was run here before: resume it, or give it another id")
            head = {
                "study": began.study_digest.hex(),
                "roster": began.roster_digest.hex(),
                "today": began.today.isoformat(),
            }
            create_private(self._folder / _RUN, pack(head, ()))
            return began
        if not self._has(_RUN):
            raise ConfigError("there is no run of this study to resume; launch it without resume")
        if self._has(_END):
            raise ConfigError("this study is over, nothing is left to resume; give a new study a new id")
        head, _ = unpack(read_private(self._folder / _RUN))
        if (head["study"], head["roster"]) != (began.study_digest.hex(), began.roster_digest.hex()):
            raise ConfigError("the study file or the roster is not the one that this run began with")
        return Began(
            study_digest=began.study_digest,
            roster_digest=began.roster_digest,
            today=datetime.date.fromisoformat(head["today"]),
        )

    def witness(self) -> Callable[[Exchange], None]:
        """A notebook for every phase from the one that is due; what was noted before a kill is noted again.

        Unlike a phase's replies an exchange stays for good: it is what the release of the study shows.
        """
        numbers = itertools.count(self._due)

        def note(exchange: Exchange) -> None:
            replace_private(self._folder / f"exchange-{next(numbers):06d}.json", exchange.to_line())

        return note

    def exchanges(self) -> tuple[bytes, ...]:
        """The lines of all exchanges so far, in order."""
        return tuple(read_private(path) for path in sorted(self._folder.glob("exchange-*.json")))

    def retain(self, payloads: Mapping[str, bytes]) -> None:
        """Keep for good what the sum of the round that is due is made of, for the study's release.

        Args:
            payloads: By digest; those of an earlier attempt of the same round are replaced.
        """
        done = self._state_head()["rounds"] if self._has(_STATE) else 0
        replace_private(
            self._payload_path(done + 1), pack({"names": list(payloads)}, list(payloads.values()))
        )

    def payloads(self, round_number: int) -> Mapping[str, bytes] | None:
        """What the sum of a round is made of, by digest; None when an older FedMed kept nothing of it."""
        path = self._payload_path(round_number)
        if not path.exists():
            return None
        head, parts = unpack(read_private(path))
        return dict(zip(head["names"], parts, strict=True))

    def _payload_path(self, round_number: int) -> Path:
        """Where the payloads of one round lie."""
        return self._folder / f"payload-{round_number:04d}.bin"

    def end(self) -> None:
        """Nothing is left to resume: the study finished, or its keys are destroyed."""
        replace_private(self._folder / _END, pack({}, ()))

    def forget(self) -> None:
        """Remove a run that came to nothing before its proposal; nobody spent for it.

        Raises:
            ConfigError: it has a state: custodians know the study.
        """
        if self._has(_STATE):
            raise ConfigError("this study was proposed already: it is ended, never forgotten")
        for pattern in ("phase-*.bin", "exchange-*.json", _RUN):
            for path in self._folder.glob(pattern):
                path.unlink()
        self._due = 1

    @property
    def is_over(self) -> bool:
        """Whether `end` was called."""
        return self._has(_END)

    def state(self) -> StudyState | None:
        """The last state that was saved; None before the first. Raises `IntegrityError` when altered."""
        if not self._has(_STATE):
            return None
        head, parts = unpack(read_private(self._folder / _STATE))
        named = head["program"]
        nonces = dict(zip(head["points"], parts[1 + len(named) :], strict=True))
        standing = Standing(
            nonces=nonces,
            fixed_set=tuple(head["fixed_set"]),
            plans=head["plans"],
            lost={int(p): code for p, code in head["lost"].items()},
            seals={int(p): bytes.fromhex(seal) for p, seal in head.get("seals", {}).items()},
        )
        rounds = tuple(self._round(n) for n in range(1, head["rounds"] + 1))
        program = _arrays(named, parts[1 : 1 + len(named)])
        return StudyState(epoch_id=parts[0], standing=standing, program=program, rounds=rounds)

    def save(self, state: StudyState) -> None:
        """Save a state durably; the phases before it are needed no more and removed."""
        if state.rounds:
            self._save_round(state.rounds[-1])
        standing = state.standing
        head = {
            "phases": self._due - 1,
            "rounds": len(state.rounds),
            "points": list(standing.nonces),
            "fixed_set": list(standing.fixed_set),
            "plans": standing.plans,
            "lost": {str(p): code for p, code in standing.lost.items()},
            "seals": {str(p): seal.hex() for p, seal in standing.seals.items()},
            "program": _names(state.program),
        }
        parts = [state.epoch_id, *_parts(state.program), *standing.nonces.values()]
        replace_private(self._folder / _STATE, pack(head, parts))
        for path in self._folder.glob("phase-*.bin"):
            if int(path.stem.partition("-")[2]) < self._due:
                path.unlink()

    def recall(self, asked: bytes) -> Replies | None:
        """See `fedmed_server.journal.Journal.recall`."""
        path = self._phase(self._due)
        if not path.exists():
            return None
        head, parts = unpack(read_private(path))
        if head["asked"] != asked.hex():
            raise IntegrityError(
                "the run's journal holds another phase than the one that is due: it was written by another "
                "version of FedMed or for another study; start the study anew"
            )
        self._due += 1
        replies, start = {}, 0
        for point, code, count in head["replies"]:
            replies[point] = Reply(code=code, parts=parts[start : start + count])
            start += count
        return replies

    def keep(self, asked: bytes, replies: Replies) -> None:
        """See `fedmed_server.journal.Journal.keep`."""
        told = [(point, reply.code, len(reply.parts)) for point, reply in replies.items()]
        parts = [part for reply in replies.values() for part in reply.parts]
        replace_private(self._phase(self._due), pack({"asked": asked.hex(), "replies": told}, parts))
        self._due += 1

    def _state_head(self) -> dict[str, Any]:  # Any: what JSON can say
        """The head of the saved state."""
        return unpack(read_private(self._folder / _STATE))[0]

    def _phase(self, number: int) -> Path:
        """Where the replies of one phase lie."""
        return self._folder / f"phase-{number:06d}.bin"

    def _round_path(self, number: int) -> Path:
        """Where the summary of one aggregation lies."""
        return self._folder / f"round-{number:04d}.bin"

    def _save_round(self, summary: RoundSummary) -> None:
        """Write one aggregation's summary; written again with the same content after a kill."""
        head = {
            "contributors": list(summary.contributors),
            "openers": list(summary.openers),
            "attempts": summary.attempts,
            "trace": _names(summary.trace),
        }
        parts = [summary.fields.astype("<u8").tobytes(), *_parts(summary.trace)]
        replace_private(self._round_path(summary.round_number), pack(head, parts))

    def _round(self, number: int) -> RoundSummary:
        """Read one aggregation's summary."""
        head, (fields, *traced) = unpack(read_private(self._round_path(number)))
        return RoundSummary(
            round_number=number,
            contributors=tuple(head["contributors"]),
            openers=tuple(head["openers"]),
            attempts=head["attempts"],
            fields=np.frombuffer(fields, dtype="<u8").astype(np.uint64),
            trace=_arrays(head["trace"], traced),
        )

    def _has(self, name: str) -> bool:
        """Whether a file is there."""
        return (self._folder / name).exists()


@contextlib.contextmanager
def opened_store(folder: Path) -> Iterator[RunStore]:
    """Open a run's folder for one process at a time.

    Args:
        folder: The folder; made with mode 0700 when it is not there.

    Raises:
        ConfigError: another process has it open, or it is not ours alone.
    """
    private_folder(folder)
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError("this study runs already in another process; wait for it or stop it") from None
        yield RunStore(folder)
    finally:
        os.close(lock)


_TYPES: Final = {"float64": "<f8", "int64": "<i8"}


def _names(arrays: Arrays) -> list[tuple[str, str, list[int]]]:
    """Name, type and shape of each array, as the head of a file says them."""
    return [(name, array.dtype.name, list(array.shape)) for name, array in arrays.items()]


def _parts(arrays: Arrays) -> list[bytes]:
    """The contents of each array, little-endian."""
    return [np.ascontiguousarray(a, dtype=_TYPES[a.dtype.name]).tobytes() for a in arrays.values()]


def _arrays(named: Sequence[tuple[str, str, list[int]]], parts: Sequence[bytes]) -> Arrays:
    """Arrays as they were stored."""
    return {
        name: np.frombuffer(part, dtype=_TYPES[kind]).astype(kind).reshape(shape)
        for (name, kind, shape), part in zip(named, parts, strict=True)
    }
