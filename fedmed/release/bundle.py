"""The files of a release and the manifest that the coordinator signs over them.

::

    manifest.json       every other file with its size and digest; study, roster and epoch
    manifest.sig        the coordinator's signature of it
    study.json          the canonical bytes that the provinces approved
    roster.bin          who took part, with which keys
    exchanges.jsonl     every phase: signed messages whole, payloads by digest and size
    sums.safetensors    the opened sum of every aggregation, as integers
    payloads.safetensors  what the sums are made of (`fedmed.release.payloads`); not in scheme plain
    model.safetensors   the model of a training study
    inputs.safetensors  what each round of a regression computed on
    earlier.json        what was published before an exact statistics study, by which its blanks are decided
    result.json         the result document
    README.md           what all this shows and what it does not

The opened sums are in the bundle on purpose: with them anybody recomputes every optimiser step, and so the
model, bit by bit. They say nothing new to those who took part, because each province was sent the parameters
after every sum; for all others they are what epsilon counts: noisy sums, released once each. Sums without
noise are another matter: they hold every cell that the result leaves blank, so the release of an exact study
is as confidential as the sums themselves.

Payloads are in it so that anybody adds up the sums again, where a scheme allows it; a reader then has of them
what the coordinator has, against whom PROTOCOL.md section 7 protects. Under scheme ``threshold`` that is one
ciphertext of each contributor and the answers that open their sum: who holds the epoch keys of as many
provinces as open a sum could open single contributions, with their own noise only. Those keys are destroyed
when the study ends, before there is a release. Sealed key shares and payloads of attempts that gave no sum
are not in it.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import numpy as np

from fedmed import wire
from fedmed.crypto.identity import Identity
from fedmed.errors import FedMedError, ReleaseBroken, UnknownVersion
from fedmed.messages import Roster
from fedmed.protocol import envelope
from fedmed.release.exchange import Exchange
from fedmed.study import (
    RegressionStudy,
    StatisticsStudy,
    StudySpec,
    TrainingStudy,
    from_canonical_bytes,
    study_digest,
)
from fedmed.types import FloatArray, Scheme, WordArray, digest

T = TypeVar("T")

FORMAT: Final = "fedmed/release/2"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
STUDY, ROSTER, EXCHANGES = "study.json", "roster.bin", "exchanges.jsonl"
SUMS, MODEL, RESULT, README = "sums.safetensors", "model.safetensors", "result.json", "README.md"
INPUTS, EARLIER, PAYLOADS = "inputs.safetensors", "earlier.json", "payloads.safetensors"
COMMON: Final = (STUDY, ROSTER, EXCHANGES, SUMS, RESULT, README)
CONTENTS: Final = (*COMMON, PAYLOADS, MODEL)
"""Files of the release of a training study under a scheme with keys."""
_KNOWN: Final = (*CONTENTS, INPUTS, EARLIER)

_README: Final = """\
# Release of the study {title}

Study `{study}`, roster `{roster}`.

Check it, without a network: `fedmed verify FILE --roster DIGEST`, with the roster's digest as a province or
the coordinator told it to you by another way. Without it the check only shows that the files fit together.

What a successful check shows:

- all provinces of the roster signed that they took part in one ceremony and accepted this study;
- every contribution and every opening answer is signed, belongs to one plan, and keeps the protocol's rules;
- no plan of the study is missing between the first and the last one, and none was used twice;
- layout and noise are those that the study gives, and the privacy spent is what this many plans cost;
- {outcome}

What it cannot show: that the coordinator sent no further plan after the last one, or gave two readers two
endings (compare with the provinces' audit logs: `fedmed node log --verify`); that the rows behind the
contributions are right; scores, times and byte counts in the result. On the coordinator's word rests
{rests}

The bundle holds no key and no key share. {sums}
"""
_SUMS_HOLD: Final[Mapping[Scheme, str]] = {
    Scheme.THRESHOLD: "no opened sum that the check computes again from the signed contributions and "
    "answers; it says how many.",
    Scheme.CKKS: "that the sum which the provinces opened, and signed, was of the contributions named here.",
    Scheme.PLAIN: "EVERY OPENED SUM, and so the outcome: scheme plain hides nothing, so no payload is here.",
}
_MODEL_HOLDS: Final = "the model is what the opened sums give, step by step and bit by bit."
_RESULT_HOLDS: Final = "the result, every number and every blank, is what the opened sums give."
_NOISY_SUMS: Final = "The sums are noisy sums that epsilon counts."
_EXACT_SUMS: Final = (
    "THE SUMS ARE EXACT and hold every number that the result leaves blank: show this bundle only to those "
    "who may see the sums."
)


def contents_of(spec: StudySpec) -> tuple[str, ...]:
    """The files of the release of a study, besides manifest and signature."""
    common = (*COMMON, PAYLOADS) if spec.aggregation.scheme.has_keys else COMMON
    match spec:
        case TrainingStudy():
            return (*common, MODEL)
        case RegressionStudy():
            return (*common, INPUTS)
        case StatisticsStudy() if spec.privacy.is_exact:
            return (*common, EARLIER)
    return common


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a release is made of.

    Attributes:
        canonical: Canonical bytes of the study.
        roster: The roster that the provinces pinned.
        exchanges: Lines of `fedmed.release.exchange.Exchange`, in order.
        sums: Opened fields of each aggregation, in order, uint64.
        result: Bytes of the result document.
        model: Bytes of the safetensors file of a training study.
        inputs: What each round of a regression computed on, in order.
        earlier: Records of what was published before an exact statistics study, in order.
        payloads: What the sums are made of, by digest; empty in scheme plain.
    """

    canonical: bytes
    roster: Roster
    exchanges: Sequence[bytes]
    sums: Sequence[WordArray]
    result: bytes
    model: bytes = b""
    inputs: Sequence[FloatArray] = ()
    earlier: Sequence[Mapping[str, Any]] = ()  # Any: JSON
    payloads: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release that was read; nothing in it is verified but the manifest.

    Attributes:
        spec: The study.
        study_digest: Digest of its canonical bytes.
        canonical: The canonical bytes.
        roster: The roster.
        roster_digest: Its digest.
        exchanges: All phases in order.
        sums: Opened fields of each aggregation.
        ended: When the result says that the study ended.
        files: The bytes of each file, for what only its kind of study has.
    """

    spec: StudySpec
    study_digest: bytes
    canonical: bytes
    roster: Roster
    roster_digest: bytes
    exchanges: tuple[Exchange, ...]
    sums: tuple[WordArray, ...]
    ended: datetime.datetime
    files: Mapping[str, bytes]


def make_bundle(material: Material, identity: Identity) -> dict[str, bytes]:
    """Put a release together and sign it.

    Args:
        material: What it is made of.
        identity: The coordinator's private keys.

    Returns:
        The bytes of each file, by name.

    Guarantees:
        The same material gives the same bytes.
    """
    spec, study = from_canonical_bytes(material.canonical), study_digest(material.canonical)
    roster_id = wire.roster_digest(material.roster)
    made = {
        STUDY: material.canonical,
        ROSTER: wire.encode_roster(material.roster),
        EXCHANGES: b"".join(material.exchanges),
        SUMS: _numbered(material.sums, study=study),
        MODEL: material.model,
        INPUTS: _numbered(material.inputs, study=study),
        PAYLOADS: _by_digest(material.payloads),
        EARLIER: json.dumps(list(material.earlier), ensure_ascii=False).encode(),
        RESULT: material.result,
        README: _readme(spec, study=study, roster_id=roster_id),
    }
    files = {name: made[name] for name in contents_of(spec)}
    manifest = _manifest(files, study=study, roster_id=roster_id)
    return {
        MANIFEST: manifest,
        SIGNATURE: envelope.sign_message(
            identity, envelope.RELEASE, digest("fedmed/release", manifest), context=study
        ),
        **files,
    }


def _readme(spec: StudySpec, *, study: bytes, roster_id: bytes) -> bytes:
    """What the release shows, for people."""
    text = _README.format(
        title=" ".join(spec.title.split()),
        study=study.hex(),
        roster=roster_id.hex(),
        outcome=_MODEL_HOLDS if isinstance(spec, TrainingStudy) else _RESULT_HOLDS,
        rests=_SUMS_HOLD[spec.aggregation.scheme],
        sums=_EXACT_SUMS if spec.privacy.is_exact else _NOISY_SUMS,
    )
    return text.encode()


def _numbered(arrays: Sequence[WordArray | FloatArray], *, study: bytes) -> bytes:
    """Vectors of the rounds, in order, as a safetensors file."""
    from safetensors.numpy import save

    named = {f"{n:04d}": np.ascontiguousarray(a) for n, a in enumerate(arrays, start=1)}
    return save(named, metadata={"study": study.hex()})


def _by_digest(payloads: Mapping[str, bytes]) -> bytes:
    """Payloads by digest, as a safetensors file."""
    from safetensors.numpy import save

    return save({name: np.frombuffer(payloads[name], np.uint8) for name in sorted(payloads)})


def _manifest(files: Mapping[str, bytes], *, study: bytes, roster_id: bytes) -> bytes:
    """The manifest of these files in its one canonical form."""
    document = {
        "format": FORMAT,
        "study": study.hex(),
        "roster": roster_id.hex(),
        "files": {name: {"size": len(data), "digest": _file_digest(data)} for name, data in files.items()},
    }
    return json.dumps(document, indent=1, sort_keys=True).encode() + b"\n"


def _file_digest(data: bytes) -> str:
    """Digest of one file, hexadecimal."""
    return digest("fedmed/release-file", data).hex()


def read_roster(files: Mapping[str, bytes]) -> Roster:
    """The roster of a bundle, which everything else is checked against; raises `ReleaseBroken`."""
    data = _file(files, ROSTER)
    return _read(ROSTER, lambda: wire.decode_roster(data))


def check_manifest(files: Mapping[str, bytes], roster: Roster) -> None:
    """The files are those that the coordinator signed, all of them and no others.

    Args:
        files: Bytes of each file, by name.
        roster: The roster of the bundle; its digest is the reader's to trust.

    Raises:
        UnknownVersion: the release has another format.
        ReleaseBroken: names the file that is missing, unexpected or altered.
    """
    manifest = _file(files, MANIFEST)
    try:
        document = json.loads(manifest)
        named, version = dict(document["files"]), document["format"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ReleaseBroken(f"{MANIFEST} is not one that FedMed writes") from None
    if version != FORMAT:
        raise UnknownVersion(f"this release is not of format {FORMAT}; use the FedMed that wrote it")
    for name in sorted({*named, *COMMON} | (set(files) - {MANIFEST, SIGNATURE})):
        if name not in files:
            raise ReleaseBroken(f"{name} is missing from the release")
        if name not in named or name not in _KNOWN:
            raise ReleaseBroken(f"{name} does not belong to the release")
        if named[name] != {"size": len(files[name]), "digest": _file_digest(files[name])}:
            raise ReleaseBroken(f"{name} is not the file that the manifest names: it was altered")
    held = {name: data for name, data in files.items() if name not in (MANIFEST, SIGNATURE)}
    study = study_digest(files[STUDY])
    if manifest != _manifest(held, study=study, roster_id=wire.roster_digest(roster)):
        raise ReleaseBroken(f"{MANIFEST} names another study or roster, or is not in its canonical form")
    _check_signature(files, roster, study=study)


def _check_signature(files: Mapping[str, bytes], roster: Roster, *, study: bytes) -> None:
    """The roster's coordinator signed this manifest."""
    data = _file(files, SIGNATURE)
    signed = _read(
        SIGNATURE,
        lambda: envelope.open_message(data, envelope.RELEASE, roster.coordinator, context=study),
    )
    if signed.content != digest("fedmed/release", files[MANIFEST]):
        raise ReleaseBroken(f"{SIGNATURE} is of another manifest")


def read_release(files: Mapping[str, bytes]) -> Release:
    """Read what the release of every study has.

    Raises:
        ReleaseBroken: names the file that is not what it should be, or does not belong to this kind of study.
    """
    roster, canonical = read_roster(files), _file(files, STUDY)
    spec = _read(STUDY, lambda: from_canonical_bytes(canonical))
    due = contents_of(spec)
    for name in sorted({*due} | (set(files) - {MANIFEST, SIGNATURE})):
        _file(files, name)
        if name not in due:
            raise ReleaseBroken(f"{name} does not belong to the release of a {spec.kind.value} study")
    return Release(
        spec=spec,
        study_digest=study_digest(canonical),
        canonical=canonical,
        roster=roster,
        roster_digest=wire.roster_digest(roster),
        exchanges=tuple(_exchanges(_file(files, EXCHANGES))),
        sums=read_vectors(files, SUMS, np.uint64),
        ended=_ended(_file(files, RESULT)),
        files=files,
    )


def _ended(result: bytes) -> datetime.datetime:
    """When the result says that the study ended."""
    try:
        return datetime.datetime.fromisoformat(json.loads(result)["created"])
    except (ValueError, KeyError, TypeError, RecursionError):
        raise ReleaseBroken(f"{RESULT} does not say when the study ended") from None


def _exchanges(data: bytes) -> Iterator[Exchange]:
    """All phases; a line that does not read is named by its number."""
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        try:
            yield Exchange.from_line(line)
        except ReleaseBroken as fault:
            raise ReleaseBroken(f"{EXCHANGES}, line {number}: {fault}") from None


def read_vectors(files: Mapping[str, bytes], name: str, kind: type[np.generic]) -> tuple[Any, ...]:
    """Vectors of the rounds, in order; Any: numpy arrays of the type ``kind``.

    Raises:
        ReleaseBroken: the file does not hold such vectors, one a round.
    """
    tensors = read_tensors(files, name)
    if sorted(tensors) != [f"{n:04d}" for n in range(1, len(tensors) + 1)]:
        raise ReleaseBroken(f"{name} does not hold one vector for each aggregation")
    if any(t.dtype != kind or t.ndim != 1 for t in tensors.values()):
        raise ReleaseBroken(f"{name} must hold vectors of type {kind.__name__}")
    return tuple(tensors[each] for each in sorted(tensors))


def read_tensors(files: Mapping[str, bytes], name: str) -> dict[str, Any]:  # numpy arrays
    """Arrays of a safetensors file of the release; raises `ReleaseBroken`."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(load(_file(files, name)))
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise ReleaseBroken(f"{name} is no safetensors file that can be read") from None


def read_payloads(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """What the sums are made of, by name; raises `ReleaseBroken`."""
    tensors = read_tensors(files, PAYLOADS)
    if any(t.dtype != np.uint8 or t.ndim != 1 for t in tensors.values()):
        raise ReleaseBroken(f"{PAYLOADS} must hold bytes")
    return {name: tensor.tobytes() for name, tensor in tensors.items()}


def _file(files: Mapping[str, bytes], name: str) -> bytes:
    """One file; raises `ReleaseBroken` when it is missing."""
    if name not in files:
        raise ReleaseBroken(f"{name} is missing from the release")
    return files[name]


def _read(name: str, reader: Callable[[], T]) -> T:
    """Read one file; whatever does not hold is named by it."""
    try:
        return reader()
    except FedMedError as fault:
        raise ReleaseBroken(f"{name}: {fault}") from fault
