"""Verifies whole releases, and refuses them after any change, whoever made it."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import numpy as np
import pytest
from safetensors.numpy import load, save

from fedmed import wire
from fedmed.errors import ReleaseBroken, UnknownVersion
from fedmed.messages import Roster
from fedmed.plans.training import model_of
from fedmed.programs.by_kind import program_for
from fedmed.programs.contract import OpenedSum, decoded
from fedmed.programs.training import PARAMETERS
from fedmed.protocol.binding import payload_digest
from fedmed.protocol.schedule import schedule_for, terms_for
from fedmed.protocol.steps import LOST, Phase, Reply
from fedmed.release import payloads
from fedmed.release.bundle import CONTENTS, MANIFEST, SIGNATURE, Material, make_bundle, read_payloads
from fedmed.release.found import Verified
from fedmed.release.verify import verify
from fedmed.study import TrainingStudy, from_canonical_bytes
from fedmed.types import Scheme, WordArray
from tests.federation import COORDINATOR, identity_of
from tests.fedmed.release.conftest import run_material

# The real study behind these takes some seconds.
pytestmark = pytest.mark.slow

Files = dict[str, bytes]
DIGESTS = (bytes(32), bytes(32), bytes(16))  # no sum depends on them
Resigned = Callable[..., Files]
CHECKED = (
    *("roster", "manifest", "study", "ceremony", "proposal", "plans", "contributions", "openings"),
    *("audit heads", "sums", "end", "model", "privacy", "result"),
)


def refused(files: Files, **trust: Any) -> str:
    """What the verifier says does not hold."""
    with pytest.raises(ReleaseBroken) as fault:
        list(verify(files, **trust))
    return str(fault.value)


def document_of(line: bytes) -> Any:
    return json.loads(line)


def line_of(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def test_a_real_study_holds(files: Files, material: Material) -> None:
    held = list(verify(files, roster_digest=wire.roster_digest(material.roster)))
    assert tuple(one.name for one in held) == CHECKED
    assert held[0].detail.endswith("as you gave")
    found = {one.name: one.detail for one in held}
    assert found["plans"] == "3 of at most 4, for 3 aggregations"
    assert found["contributions"].startswith("12 signed headers")
    assert "recomputed" in found["privacy"]
    assert found["sums"] == "3 of 3 computed again from the signed contributions and answers"
    assert not any(one.rests for one in held)
    assert isinstance(held[0], Verified)
    assert next(verify(files)).detail.endswith("assumed from the bundle: compare it with a province's")


def test_a_bundle_holds_payloads_of_the_sums_only(material: Material, files: Files) -> None:
    """Sealed shares, parameters and the rehearsals' payloads are named by digest and size only."""
    named = [
        part
        for line in material.exchanges
        for group in (*document_of(line)["asked"], *document_of(line)["answered"])
        for part in group.get("parts", ())
    ]
    assert any(isinstance(part, dict) and part["size"] > 200_000 for part in named), "sealed key shares"
    held = read_payloads(files)
    assert len(held) == 3 * (4 + 3), "of four contributors and three openers in three rounds"
    assert sum(map(len, files.values())) < 100_000 + sum(map(len, held.values()))


def test_a_coordinator_that_forges_the_last_sum_is_refused(material: Material, resigned: Resigned) -> None:
    """It makes another model of a last sum of its own, and a result and a manifest that fit it."""
    sums = [one.copy() for one in material.sums]
    sums[-1] += np.uint64(1_500)
    model = model_from(material, sums)
    assert any(not np.array_equal(one, load(material.model)[name]) for name, one in model.items())
    said = refused(resigned(sums=sums, model=save(model)))
    assert said == "sums.safetensors, aggregation 3: it is not what the signed contributions and answers give"


def model_from(material: Material, sums: Sequence[WordArray]) -> dict[str, Any]:
    """The model that these sums give, as the coordinator's own program computes it."""
    spec = cast(TrainingStudy, from_canonical_bytes(material.canonical))
    program, terms = program_for(spec), terms_for(spec, schedule_for(spec), material.roster, digests=DIGESTS)
    state = program.begin()
    for number, fields in enumerate(sums, start=1):
        stage, who = terms.stage(number), material.roster.points
        values = decoded(fields, stage, contributors=len(who))
        opened = OpenedSum(stage=stage, round_number=number, values=values, contributors=who)
        state = program.absorb(state, opened)
    return dict(model_of(spec).split(state[PARAMETERS]))


def test_every_payload_has_to_be_the_signed_one(material: Material, resigned: Resigned) -> None:
    """Each one altered, left out, put under its new name, or with one more beside it."""
    for name, data in list(material.payloads.items())[::4]:  # of contributors and openers
        rest = {key: kept for key, kept in material.payloads.items() if key != name}
        other = bytes([data[0] ^ 1]) + data[1:]
        assert f"is not the one that is signed: {name}" in refused(resigned(payloads={**rest, name: other}))
        assert "all of them and no others" in refused(resigned(payloads=rest))
        renamed = {**rest, payload_digest(other).hex(): other}
        assert "all of them and no others" in refused(resigned(payloads=renamed))
    more = {**material.payloads, payload_digest(b"x").hex(): b"x"}
    assert "all of them and no others" in refused(resigned(payloads=more))


def test_the_last_sum_is_covered_where_payloads_are_too_large(
    material: Material, resigned: Resigned, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is what a release carries at most; what it leaves out is named."""
    monkeypatch.setattr(payloads, "MOST_PAYLOAD_BYTES", 1)
    last = dict(list(material.payloads.items())[-7:])
    (told,) = [one for one in verify(resigned(payloads=last)) if one.name == "sums"]
    assert told.detail.startswith("1 of 3 computed again")
    assert told.rests.startswith("the first 2 of 3 opened sums")


def test_sizes_that_nobody_signed_leave_no_sum_out(material: Material, resigned: Resigned) -> None:
    """Guarantee of `sums_hold`: a coordinator cannot call payloads too large that it does not show."""
    payloads_of_last = dict(list(material.payloads.items())[-7:])
    hidden = material.payloads.keys() - payloads_of_last.keys()
    lines = []
    for line in material.exchanges:
        document = document_of(line)
        for told in (*document["asked"], *document["answered"]):
            for part in told.get("parts", ()):
                if isinstance(part, dict) and part["digest"] in hidden:
                    part["size"] = 1 << 40
        lines.append(line_of(document))
    said = refused(resigned(exchanges=lines, payloads=payloads_of_last))
    assert said.startswith("sums.safetensors, aggregation 1: the sizes told of its payloads")


def test_another_roster_than_the_trusted_one_is_refused(files: Files) -> None:
    assert "not the one that you trust" in refused(files, roster_digest=bytes(32))


@pytest.mark.parametrize("name", [MANIFEST, SIGNATURE, *CONTENTS])
def test_an_altered_missing_or_added_file_is_named(files: Files, name: str) -> None:
    rng = np.random.default_rng(7)
    for at in rng.integers(0, len(files[name]), 6):
        data = bytearray(files[name])
        data[at] ^= 1 << int(rng.integers(0, 7))
        try:
            said = refused({**files, name: bytes(data)})
        except UnknownVersion:
            assert name == MANIFEST
            continue
        assert name in said or name in (MANIFEST, "roster.bin"), said
    assert name in refused({key: data for key, data in files.items() if key != name})
    assert "extra.bin does not belong" in refused({**files, "extra.bin": b"x"})


def test_another_coordinator_cannot_sign_the_release(material: Material) -> None:
    assert SIGNATURE in refused(make_bundle(material, identity_of(1)))


def exchange_mutations(lines: tuple[bytes, ...]) -> Iterator[tuple[str, list[bytes]]]:
    """Every phase left out, doubled, moved one place on and moved to the end."""
    for at, line in enumerate(lines):
        rest = [*lines[:at], *lines[at + 1 :]]
        yield f"drop {at}", rest
        yield f"double {at}", [*lines[: at + 1], *lines[at:]]
        if at + 1 < len(lines):
            yield f"swap {at}", [*lines[:at], lines[at + 1], line, *lines[at + 2 :]]
            yield f"last {at}", [*rest, line]
            yield f"replay {at}", [*lines[:-1], line, lines[-1]]


def test_phases_that_are_dropped_doubled_reordered_or_replayed_are_refused(
    material: Material, resigned: Resigned
) -> None:
    """Whatever a coordinator does to the order of phases before it signs the manifest anew."""
    for what, lines in exchange_mutations(tuple(material.exchanges)):
        try:
            said = refused(resigned(exchanges=lines))
        except pytest.fail.Exception:
            pytest.fail(f"{what} was not noticed")
        assert said, what


def part_mutations(line: bytes) -> Iterator[tuple[str, bytes]]:
    """Every distinct part of a phase altered, every answer left out, every digest exchanged."""
    for side in ("asked", "answered"):
        for group, told in enumerate(document_of(line)[side]):
            for place, part in enumerate(told.get("parts", ())):
                document = document_of(line)
                parts = document[side][group]["parts"]
                if isinstance(part, str):
                    data = bytearray(base64.b64decode(part) or b"?")
                    data[(group * 37 + place * 11) % len(data)] ^= 4
                    parts[place] = base64.b64encode(bytes(data)).decode()
                else:
                    parts[place] = {"digest": "ab" * 32, "size": part["size"]}
                yield f"{side} {group} part {place}", line_of(document)
            if side == "answered":
                document = document_of(line)
                document[side][group] = {"point": told["point"], "code": LOST}
                yield f"answer {group} lost", line_of(document)


def is_unsigned(phase: str, what: str) -> bool:
    """Words without a signature at the end of a ceremony and of a study; nothing rests on them.

    A province that did not hear of the end destroys its keys at their expiry.
    """
    answered = what.startswith("answered")
    return (phase == "ceremony conclude" and answered) or (phase == "close" and what.startswith("answer"))


def test_every_part_and_every_answer_counts(material: Material, resigned: Resigned) -> None:
    """Flipped bytes, exchanged digests and suppressed answers of every phase are noticed."""
    lines = tuple(material.exchanges)
    for at, line in enumerate(lines):
        for what, changed in part_mutations(line):
            if is_unsigned(document_of(line)["phase"], what):
                continue
            try:
                refused(resigned(exchanges=[*lines[:at], changed, *lines[at + 1 :]]))
            except pytest.fail.Exception:
                pytest.fail(f"phase {at} {document_of(line)['phase']}, {what} was not noticed")


def test_messages_of_another_study_do_not_fit(material: Material, resigned: Resigned) -> None:
    """Every phase of a second run of the same study, put into the first."""
    other = tuple(run_material().exchanges)
    lines = tuple(material.exchanges)
    assert len(other) == len(lines)
    for at in range(len(lines)):
        refused(resigned(exchanges=[*lines[:at], other[at], *lines[at + 1 :]]))


def test_sums_model_and_result_must_agree(material: Material, resigned: Resigned) -> None:
    for at in range(3):
        sums = [s.copy() for s in material.sums]
        sums[at][0] += np.uint64(1)
        said = refused(resigned(sums=sums))
        assert ("plan of" in said) or ("aggregation 3" in said)
    assert "sums" in refused(resigned(sums=material.sums[:2]))
    assert "sums" in refused(resigned(sums=(*material.sums, material.sums[0])))
    arrays = {name: array.copy() for name, array in load(material.model).items()}
    first = min(arrays)
    arrays[first] = np.nextafter(arrays[first], np.inf)
    assert "is not what the opened sums give" in refused(resigned(model=save(arrays)))
    assert "other arrays" in refused(resigned(model=save({"x": np.zeros(2)})))


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        ("privacy", "epsilon_spent", 0.5),
        ("privacy", "noise_multiplier", 99.0),
        ("privacy", "fallback_epsilon", 0.9),
        ("privacy", "dropouts", 0),
        ("aggregation", "attempts", 4),
        ("aggregation", "contributors", [["node1", "node2", "node3"]]),
        ("study", "digest", "00" * 32),
        ("study", "owner", "somebody else"),
    ],
)
def test_a_result_that_says_otherwise_is_refused(
    material: Material, resigned: Resigned, section: str, name: str, value: object
) -> None:
    document = json.loads(material.result)
    document[section][name] = value
    assert "result.json" in refused(resigned(result=json.dumps(document).encode()))


def test_a_coordinator_cannot_swap_the_roster(material: Material, resigned: Resigned) -> None:
    """A roster with another threshold has another digest, and no message belongs to it."""
    roster: Roster = dataclasses.replace(material.roster, version=2)
    files = resigned(roster=roster)
    assert "not the one that you trust" in refused(files, roster_digest=wire.roster_digest(material.roster))
    assert "ceremony start" in refused(files)


def test_a_study_with_losses_and_a_repeated_attempt_holds() -> None:
    """node4 is lost at the second opening: the attempt is repeated, with the same contributors."""
    seen: list[str] = []

    def lose(phase: Phase, point: int, reply: Reply) -> Reply | None:
        if phase.name == "open" and point == 3:
            seen.append(phase.name)
            if len(seen) == 2:
                return None
        return reply

    material = run_material(lose=lose)
    held = {one.name: one.detail for one in verify(make_bundle(material, identity_of(COORDINATOR)))}
    assert held["plans"] == "4 of at most 4, for 3 aggregations"


def test_a_study_that_is_scored_at_its_end_holds_as_well() -> None:
    """Two stages with layouts of their own; the evaluation's sum moves no parameter."""
    material = run_material(scheme=Scheme.PLAIN, report__evaluation_epsilon=0.3, data__held_out=0.3)
    held = {one.name: one.detail for one in verify(make_bundle(material, identity_of(COORDINATOR)))}
    assert held["plans"] == "4 of at most 5, for 4 aggregations"
    assert len({len(s) for s in material.sums}) == 2


def test_a_study_without_encryption_holds_without_a_ceremony() -> None:
    material = run_material(scheme=Scheme.PLAIN)
    held = list(verify(make_bundle(material, identity_of(COORDINATOR))))
    assert [one.name for one in held] == [name for name in CHECKED if name != "ceremony"]
    assert not material.payloads, "a contribution of scheme plain is the province's own sum"
    (rests,) = [one.rests for one in held if one.rests]
    assert rests.startswith("the opened sums, and with them the whole outcome")


def test_a_study_under_a_shared_key_holds_and_its_openers_were_shown_the_same() -> None:
    """Scheme ``ckks``: the sums that openers were shown are in the release by their digests."""
    material = run_material(scheme=Scheme.CKKS)
    held = list(verify(make_bundle(material, identity_of(COORDINATOR))))
    assert [one.name for one in held] == list(CHECKED)
    assert len(material.payloads) == 3 * 3, "no contribution: every province could open it"
    (rests,) = [one.rests for one in held if one.rests]
    assert "that the openers were shown the sum of these contributions" in rests
    forged = [one.copy() for one in material.sums]
    forged[-1][0] += np.uint64(1)
    changed = dataclasses.replace(material, sums=forged)
    assert "aggregation 3: it is not what" in refused(make_bundle(changed, identity_of(COORDINATOR)))
    phases = [json.loads(line) for line in material.exchanges]
    at = [document["phase"] for document in phases].index("open")

    def refused_with(change: Callable[[list[Any]], None]) -> str:
        document = json.loads(material.exchanges[at])
        change(document["asked"])
        line = json.dumps(document, separators=(",", ":")).encode() + b"\n"
        lines = (*material.exchanges[:at], line, *material.exchanges[at + 1 :])
        changed = dataclasses.replace(material, exchanges=lines)
        return refused(make_bundle(changed, identity_of(COORDINATOR)))

    def another_sum(asked: list[Any]) -> None:
        asked[0]["parts"][2]["digest"] = bytes(32).hex()

    def no_sum(asked: list[Any]) -> None:
        for group in asked:
            del group["parts"][2:]

    assert "different sums" in refused_with(another_sum)
    assert "does not open" in refused_with(no_sum)
