"""The files of a release and the manifest that the coordinator signs over them.

::

    manifest.json       every other file with its size and digest; study, roster and epoch
    manifest.sig        the coordinator's signature of it
    study.json          the canonical bytes that the provinces approved
    roster.bin          who took part, with which keys
    exchanges.jsonl     every phase: signed messages whole, payloads by digest and size
    sums.safetensors    the opened sum of every aggregation, as integers
    model.safetensors   the model
    result.json         the result document
    README.md           what all this shows and what it does not

The opened sums are in the bundle on purpose: with them anybody recomputes every optimiser step, and so the
model, bit by bit. They say nothing new to those who took part, because each province was sent the parameters
after every sum; for all others they are what epsilon counts: noisy sums, released once each. Ciphertexts,
opening shares and sealed key shares are not in it, not even those that the coordinator has: who holds a
release has less than the coordinator, against whom PROTOCOL.md section 7 protects.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from fedmed import wire
from fedmed.crypto.identity import Identity
from fedmed.errors import FedMedError, ReleaseBroken, UnknownVersion
from fedmed.messages import Roster
from fedmed.protocol import envelope
from fedmed.release.exchange import Exchange
from fedmed.report.result import Result
from fedmed.study import StudySpec, from_canonical_bytes, study_digest
from fedmed.types import WordArray, digest

T = TypeVar("T")

FORMAT: Final = "fedmed/release/1"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
STUDY, ROSTER, EXCHANGES = "study.json", "roster.bin", "exchanges.jsonl"
SUMS, MODEL, RESULT, README = "sums.safetensors", "model.safetensors", "result.json", "README.md"
CONTENTS: Final = (STUDY, ROSTER, EXCHANGES, SUMS, MODEL, RESULT, README)

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
- the model is what the opened sums give, step by step and bit by bit.

What it cannot show: that the coordinator sent no further plan after the last one, or gave two readers two
endings (compare with the provinces' audit logs: `fedmed node log --verify`); that the opened sums are those
of the contributions named here, except that provinces computed on every model before the last one; that the
rows behind the contributions are right; scores, times and byte counts in the result.

The bundle holds no ciphertext, no opening share and no key. The sums are noisy sums that epsilon counts.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What a release is made of.

    Attributes:
        canonical: Canonical bytes of the study.
        roster: The roster that the provinces pinned.
        exchanges: Lines of `fedmed.release.exchange.Exchange`, in order.
        sums: Opened fields of each aggregation, in order, uint64.
        model: Bytes of the safetensors file.
        result: Bytes of the result document.
    """

    canonical: bytes
    roster: Roster
    exchanges: Sequence[bytes]
    sums: Sequence[WordArray]
    model: bytes
    result: bytes


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
        tensors: Arrays of the model file, by name.
        result: The result document.
    """

    spec: StudySpec
    study_digest: bytes
    canonical: bytes
    roster: Roster
    roster_digest: bytes
    exchanges: tuple[Exchange, ...]
    sums: tuple[WordArray, ...]
    tensors: Mapping[str, Any]  # numpy arrays of whatever type the file says
    result: Result


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
    from safetensors.numpy import save

    spec, study = from_canonical_bytes(material.canonical), study_digest(material.canonical)
    roster_id = wire.roster_digest(material.roster)
    readme = _README.format(title=" ".join(spec.title.split()), study=study.hex(), roster=roster_id.hex())
    sums = {f"{n:04d}": np.ascontiguousarray(s) for n, s in enumerate(material.sums, start=1)}
    files = {
        STUDY: material.canonical,
        ROSTER: wire.encode_roster(material.roster),
        EXCHANGES: b"".join(material.exchanges),
        SUMS: save(sums, metadata={"study": study.hex()}),
        MODEL: material.model,
        RESULT: material.result,
        README: readme.encode(),
    }
    manifest = _manifest(files, study=study, roster_id=roster_id)
    return {
        MANIFEST: manifest,
        SIGNATURE: envelope.sign_message(
            identity, envelope.RELEASE, digest("fedmed/release", manifest), context=study
        ),
        **files,
    }


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
    for name in sorted({*named, *CONTENTS} | (set(files) - {MANIFEST, SIGNATURE})):
        if name not in files:
            raise ReleaseBroken(f"{name} is missing from the release")
        if name not in named or name not in CONTENTS:
            raise ReleaseBroken(f"{name} does not belong to the release")
        if named[name] != {"size": len(files[name]), "digest": _file_digest(files[name])}:
            raise ReleaseBroken(f"{name} is not the file that the manifest names: it was altered")
    held = {name: files[name] for name in CONTENTS}
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
    """Read all files of a bundle.

    Raises:
        ReleaseBroken: names the file that is not what it should be.
    """
    roster, canonical, result = read_roster(files), _file(files, STUDY), _file(files, RESULT)
    return Release(
        spec=_read(STUDY, lambda: from_canonical_bytes(canonical)),
        study_digest=study_digest(canonical),
        canonical=canonical,
        roster=roster,
        roster_digest=wire.roster_digest(roster),
        exchanges=tuple(_exchanges(_file(files, EXCHANGES))),
        sums=_sums(_file(files, SUMS)),
        tensors=_tensors(MODEL, _file(files, MODEL)),
        result=_read(RESULT, lambda: Result.from_json(result)),
    )


def _exchanges(data: bytes) -> Iterator[Exchange]:
    """All phases; a line that does not read is named by its number."""
    for number, line in enumerate(data.splitlines(keepends=True), start=1):
        try:
            yield Exchange.from_line(line)
        except ReleaseBroken as fault:
            raise ReleaseBroken(f"{EXCHANGES}, line {number}: {fault}") from None


def _sums(data: bytes) -> tuple[WordArray, ...]:
    """Opened fields in the order of aggregations."""
    tensors = _tensors(SUMS, data)
    if sorted(tensors) != [f"{n:04d}" for n in range(1, len(tensors) + 1)]:
        raise ReleaseBroken(f"{SUMS} does not hold one sum for each aggregation")
    if any(t.dtype != np.uint64 or t.ndim != 1 for t in tensors.values()):
        raise ReleaseBroken(f"{SUMS} must hold vectors of unsigned 64-bit integers")
    return tuple(tensors[name] for name in sorted(tensors))


def _tensors(name: str, data: bytes) -> dict[str, Any]:  # numpy arrays
    """Arrays of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        return dict(load(data))
    except (SafetensorError, ValueError, KeyError, TypeError):
        raise ReleaseBroken(f"{name} is no safetensors file that can be read") from None


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
