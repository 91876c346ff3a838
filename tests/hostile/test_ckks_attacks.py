"""Attacks on scheme ``ckks`` by a coordinator without a key: what a custodian opens, and what it refuses.

CKKS itself detects none of this: without the checks named here every row gives a number. Provinces hold the
key, so what they can do is no attack but a property of the scheme (SECURITY.md).

| attack | code | check |
|---|---|---|
| one contribution, or one counted twice, shown as the sum over S | sum_forged | ckks_node.check_sum |
| the sum over another set than S | sum_forged | the same |
| contributions of another round under this round's headers | sum_forged | the same |
| contributions under another epoch's key | sum_forged | the same |
| flipped bits | sum_forged | the same |
| a chunk of another size, ring or level; a residue or a tag out of range | ciphertext_malformed | read_part |
| a ciphertext that takes the mask off the sum so far | ciphertext_malformed | CkksCombiner.add_contribution |
| sums missing, or one too many; any sum in another scheme | message_malformed | the schemes' ``open`` |
| a header of another round | header_plan_mismatch | binding.check_header_plan |
| a set that is too small | set_too_small | node_round.check_set_size |
| a field above what a node may declare | opening_out_of_bounds | ckks_node.whole_fields |
| a study under keys of another scheme | epoch_mismatch | StudyDesk |
| a policy that does not list the scheme | study_refused | policy |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from fedmed import wire
from fedmed.aggregation import ckks_node
from fedmed.aggregation.ckks_layout import added_tags, parts_of, read_part, write_part
from fedmed.aggregation.ckks_node import CkksContributor
from fedmed.aggregation.combiners import combiner_for
from fedmed.crypto.ckks_parameters import PRIMES
from fedmed.crypto.ckks_secret import CkksKeys
from fedmed.errors import CiphertextMalformed, OpeningOutOfBounds, SumForged
from fedmed.protocol import envelope
from fedmed.protocol.binding import payload_digest
from fedmed.protocol.coordinator_round import aggregate
from fedmed.protocol.steps import Phase, PhaseKind, Reply
from fedmed.types import Scheme
from tests.federation import COORDINATOR, Attempt, Trial, make_federation, make_trial, no_check
from tests.small_province import OPEN_POLICY, insecure_no_noise, small_study

pytestmark = pytest.mark.slow

POINT = 2
ALL = (1, 2, 3, 4)
T = (1, 2, 3)
Chunks = tuple[bytes, ...]


def chunks_of(attempt: Attempt, point: int) -> Chunks:
    return attempt.contributions[point][1:]


def shifted(trial: Trial, one: bytes, other: bytes) -> bytes:
    """What a coordinator without a key can do to ciphertexts and tags: add them up."""
    (part,) = parts_of(trial.layout)
    (a, tag_a), (b, tag_b) = read_part(one, part), read_part(other, part)
    primes = np.array(PRIMES, np.uint64)[:, None]
    return write_part((a + b) % primes, added_tags(tag_a, tag_b))


def single(trial: Trial, attempt: Attempt) -> Chunks:
    return chunks_of(attempt, 1)


def doubled(trial: Trial, attempt: Attempt) -> Chunks:
    (honest,), (more,) = trial.sums(attempt, ALL), chunks_of(attempt, 1)
    return (shifted(trial, honest, more),)


def without_one(trial: Trial, attempt: Attempt) -> Chunks:
    return trial.sums(attempt, (2, 3, 4))


def flipped(trial: Trial, attempt: Attempt) -> Chunks:
    (honest,) = trial.sums(attempt, ALL)
    at = len(honest) // 2
    return (honest[:at] + bytes([honest[at] ^ 1]) + honest[at + 1 :],)


def flipped_tag(trial: Trial, attempt: Attempt) -> Chunks:
    (honest,) = trial.sums(attempt, ALL)
    return (bytes([honest[0] ^ 1]) + honest[1:],)


def other_key(trial: Trial, attempt: Attempt) -> Chunks:
    """Node 4's chunk is made under the key of another epoch."""
    stranger = CkksContributor(CkksKeys(bytes(32), point=4, threshold=3))
    fields = np.zeros(trial.layout.values, np.uint64)
    chunks = stranger.contribute(fields, plan_digest=attempt.digest, layout=trial.layout)
    contributions = {**attempt.contributions, 4: (attempt.contributions[4][0], *chunks)}
    return trial.sums(replace(attempt, contributions=contributions), ALL)


def garbage(trial: Trial, attempt: Attempt) -> Chunks:
    (honest,) = trial.sums(attempt, ALL)
    return (b"\xff" * len(honest),)


def shorter(trial: Trial, attempt: Attempt) -> Chunks:
    """One prime less, as after a rescaling."""
    (honest,) = trial.sums(attempt, ALL)
    return (honest[: -len(honest) // 2],)


def of_seal(trial: Trial, attempt: Attempt) -> Chunks:
    """A TenSEAL vector as TenSEAL writes it, with parameters and a scale of its own."""
    import tenseal as ts

    context = ts.context(ts.SCHEME_TYPE.CKKS, 4096, coeff_mod_bit_sizes=[40, 20, 40])
    context.global_scale = 2.0**20
    return (ts.ckks_vector(context, [1.0, 2.0]).serialize(),)


def none(trial: Trial, attempt: Attempt) -> Chunks:
    return ()


def twice(trial: Trial, attempt: Attempt) -> Chunks:
    return trial.sums(attempt, ALL) * 2


@pytest.fixture
def begun() -> tuple[Trial, Attempt]:
    trial = make_trial(scheme=Scheme.CKKS)
    return trial, trial.begin()


@pytest.mark.parametrize(
    ("attack", "code"),
    [
        *(
            (attack, "sum_forged")
            for attack in (single, doubled, without_one, flipped, flipped_tag, other_key)
        ),
        *((attack, "ciphertext_malformed") for attack in (garbage, shorter, of_seal)),
        *((attack, "message_malformed") for attack in (none, twice)),
    ],
)
def test_a_custodian_decrypts_nothing_but_the_sum_over_the_set_whose_headers_it_saw(
    begun: tuple[Trial, Attempt], attack: Callable[[Trial, Attempt], Chunks], code: str
) -> None:
    trial, attempt = begun
    request, plan, *_ = trial.request(attempt, POINT, contributors=ALL, openers=T)
    assert trial.federation.refused(POINT, PhaseKind.OPEN, request, plan, *attack(trial, attempt)) == code
    # Nothing was spent: the honest sum is still opened.
    honest = trial.federation.ask(POINT, PhaseKind.OPEN, request, plan, *trial.sums(attempt, ALL))
    assert not honest.is_refusal, honest.code


def test_without_the_authenticator_one_contribution_would_be_opened(
    begun: tuple[Trial, Attempt], monkeypatch: pytest.MonkeyPatch
) -> None:
    trial, attempt = begun
    monkeypatch.setattr(ckks_node, "check_sum", no_check)
    answers = []
    for point in T:
        request, plan, *_ = trial.request(attempt, point, contributors=ALL, openers=T)
        reply = trial.federation.ask(point, PhaseKind.OPEN, request, plan, *single(trial, attempt))
        assert not reply.is_refusal
        answers.append(reply.parts)
    own = trial.combine(list(attempt.contributions.values()), answers)
    assert own.max() <= 2 * trial.layout.offset  # node 1's own noisy sum, alone


def test_custodians_cannot_be_asked_one_by_one_for_sets_that_differ_in_one_province(
    begun: tuple[Trial, Attempt],
) -> None:
    """S and S without node 4 are both large enough; two quorums share a custodian, which answers once."""
    trial, attempt = begun
    without = (1, 2, 3)
    asked = {1: ALL, 2: without, 3: ALL}
    answers = {
        point: trial.federation.ask(
            point, PhaseKind.OPEN, *trial.request(attempt, point, contributors=contributors, openers=T)
        )
        for point, contributors in asked.items()
    }
    assert not any(reply.is_refusal for reply in answers.values()), "each answers what it is asked first"
    with pytest.raises(OpeningOutOfBounds):
        trial.combine(list(attempt.contributions.values()), [reply.parts for reply in answers.values()])
    for point, contributors in ((2, ALL), (1, without), (3, without)):
        again = trial.request(attempt, point, contributors=contributors, openers=T)
        assert trial.federation.refused(point, PhaseKind.OPEN, *again) == "second_opening"


@pytest.mark.parametrize("is_bare", [True, False])
def test_a_ciphertext_that_unmasks_the_sum_costs_its_sender_its_place_and_not_the_coordinator_the_run(
    begun: tuple[Trial, Attempt], is_bare: bool
) -> None:
    trial, attempt = begun
    (part,) = parts_of(trial.layout)
    residues, tag = read_part(*chunks_of(attempt, 1), part)
    first, second = residues.copy(), residues.copy()
    primes = np.array(PRIMES, np.uint64)[:, None]
    if is_bare:  # two provinces that hide nothing
        first[:, 1] = second[:, 1] = 0
    else:  # one that sends another's mask with its sign changed
        second[:, 1] = (primes - residues[:, 1]) % primes
    total = combiner_for(Scheme.CKKS)(trial.layout)
    total.add_contribution((write_part(first, tag),))
    before = total.sums()
    with pytest.raises(CiphertextMalformed, match="mask"):
        total.add_contribution((write_part(second, tag),))
    assert total.sums() == before
    total.add_contribution(chunks_of(attempt, 3))


def test_contributions_of_another_round_are_no_part_of_this_rounds_sum() -> None:
    trial = make_trial(scheme=Scheme.CKKS)
    first = trial.begin(1)
    trial.open(first, contributors=ALL, openers=T)
    for point in ALL:
        trial.ask_nonce(point)
    second = trial.begin(2)
    mixed = replace(
        second, contributions={**second.contributions, 3: (second.contributions[3][0], *chunks_of(first, 3))}
    )
    request, plan, *_ = trial.request(second, POINT, contributors=ALL, openers=T)
    refused = trial.federation.refused(POINT, PhaseKind.OPEN, request, plan, *trial.sums(mixed, ALL))
    assert refused == "sum_forged"
    headers = [*second.headers((1, 2)), *first.headers((3,)), *second.headers((4,))]
    replayed = trial.request(second, POINT, contributors=ALL, openers=T, headers=headers)
    assert trial.federation.refused(POINT, PhaseKind.OPEN, *replayed) == "header_plan_mismatch"


def test_a_single_contribution_is_no_set(begun: tuple[Trial, Attempt]) -> None:
    trial, attempt = begun
    alone = trial.request(attempt, POINT, contributors=(1,), openers=T)
    assert trial.federation.refused(POINT, PhaseKind.OPEN, *alone) == "set_too_small"


def test_one_attempt_opens_once_whatever_sum_is_shown_later(begun: tuple[Trial, Attempt]) -> None:
    trial, attempt = begun
    request, plan, *sums = trial.request(attempt, POINT, contributors=ALL, openers=T)
    first = trial.federation.ask(POINT, PhaseKind.OPEN, request, plan, *sums)
    again = trial.federation.ask(POINT, PhaseKind.OPEN, request, plan, *single(trial, attempt))
    assert first.parts == again.parts, "the stored answer is sent again"
    fewer = trial.request(attempt, POINT, contributors=(1, 2, 3), openers=T)
    assert trial.federation.refused(POINT, PhaseKind.OPEN, *fewer) == "second_opening"


def test_a_province_that_spoils_a_sum_costs_the_others_one_attempt_and_not_all() -> None:
    """Openers cannot tell whose authenticator is false, and each further attempt would be debited."""
    trial = make_trial(scheme=Scheme.CKKS)
    debits = {point: len(node.contents().ledger) for point, node in trial.federation.nodes.items()}

    def lie(phase: Phase, point: int, reply: Reply) -> Reply:
        """Node 4 signs what it sends: the header holds the digest of the false authenticator."""
        if phase.kind is not PhaseKind.CONTRIBUTE or point != 4:
            return reply
        header, chunk = reply.parts
        false = bytes([chunk[0] ^ 1]) + chunk[1:]
        said = wire.decode_statement(wire.decode_signed(header).body)
        content = replace(wire.decode_header(said.content), chunk_digests=(payload_digest(false),))
        signed = trial.federation.sign(
            4, envelope.HEADER, wire.encode_header(content), context=said.context, receiver=COORDINATOR
        )
        return Reply(parts=(signed, false))

    steps = aggregate(trial.desk, trial.standing, round_number=1, inputs=trial.inputs)
    with pytest.raises(SumForged, match="every opener refused the sum"):
        trial.federation.drive(steps, garble=lie)
    spent = {p: len(n.contents().ledger) - debits[p] for p, n in trial.federation.nodes.items()}
    assert spent == dict.fromkeys(ALL, 1)


def test_a_field_above_what_nodes_may_declare_is_not_given_away(begun: tuple[Trial, Attempt]) -> None:
    """A malicious province encrypts and tags a number that no honest one can have."""
    trial, attempt = begun
    fields = np.full(trial.layout.values, (1 << (trial.layout.field_bits - 1)) - 1, np.uint64)
    liar = trial.federation.nodes[4].custodian._contributors.of(trial.epoch_id)
    chunks = liar.contribute(fields, plan_digest=attempt.digest, layout=trial.layout)
    contributions = {**attempt.contributions, 4: (attempt.contributions[4][0], *chunks)}
    request, plan, *_ = trial.request(attempt, POINT, contributors=ALL, openers=T)
    sums = trial.sums(replace(attempt, contributions=contributions), ALL)
    assert trial.federation.refused(POINT, PhaseKind.OPEN, request, plan, *sums) == "opening_out_of_bounds"


@pytest.mark.parametrize("scheme", [Scheme.THRESHOLD, Scheme.PLAIN])
def test_custodians_of_other_schemes_still_look_at_no_ciphertext(scheme: Scheme) -> None:
    trial = make_trial(scheme=scheme)
    attempt = trial.begin()
    request, plan = trial.request(attempt, POINT, contributors=ALL, openers=T)
    shown = chunks_of(attempt, 1)
    assert trial.federation.refused(POINT, PhaseKind.OPEN, request, plan, *shown) == "message_malformed"
    assert not trial.federation.ask(POINT, PhaseKind.OPEN, request, plan).is_refusal


@pytest.mark.parametrize(
    ("keys", "study"), [(Scheme.CKKS, Scheme.THRESHOLD), (Scheme.THRESHOLD, Scheme.CKKS)]
)
def test_a_study_runs_under_keys_of_its_own_scheme_only(keys: Scheme, study: Scheme) -> None:
    trial = Trial(make_federation(scheme=keys), small_study(scheme=study))
    assert trial.federation.refused(POINT, PhaseKind.PROPOSE, trial.proposal()) == "epoch_mismatch"


def test_a_policy_that_does_not_list_the_scheme_refuses_it() -> None:
    policy = replace(OPEN_POLICY, schemes=frozenset({Scheme.THRESHOLD}), research=True)
    trial = Trial(make_federation(scheme=Scheme.CKKS, policy=policy), small_study(scheme=Scheme.CKKS))
    assert trial.federation.refused(POINT, PhaseKind.PROPOSE, trial.proposal()) == "study_refused"


def test_keys_end_with_the_epoch_on_disk_and_in_memory(begun: tuple[Trial, Attempt]) -> None:
    trial, attempt = begun
    node = trial.federation.nodes[POINT]
    parts = trial.request(attempt, POINT, contributors=ALL, openers=T)
    node.custodian._ceremonies.destroy(trial.epoch_id)
    assert trial.epoch_id not in node.effects.secrets.epochs()
    assert trial.federation.refused(POINT, PhaseKind.OPEN, *parts) == "epoch_mismatch"
    assert not node.custodian._contributors._known


def test_the_sum_of_an_honest_round_is_that_of_plain() -> None:
    clear, shared = (
        make_trial(scheme=scheme, noise=insecure_no_noise) for scheme in (Scheme.PLAIN, Scheme.CKKS)
    )
    begun = shared.begin()
    answers = shared.open(begun, contributors=ALL, openers=T)
    assert len({parts[1][32:] for parts in answers.values()}) == 1, "but for its share of a key"
    assert len({parts[1][:32] for parts in answers.values()}) == 3
    total = shared.combine(list(begun.contributions.values()), list(answers.values()))
    assert np.array_equal(total, clear.round())
