"""What an operator reads of a refusal: study, rule, bound and title; and nothing that a stranger made up."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fedmed import wire
from fedmed.errors import DataContractError, StudyRefused
from fedmed.governance.audit_chain import MAX_DETAIL_BYTES, AuditEvent
from fedmed.governance.policy import Policy
from fedmed.messages import NO_EPOCH, StudyProposal
from fedmed.protocol import envelope
from fedmed.protocol.steps import PhaseKind
from fedmed.study import canonical_bytes, study_digest
from fedmed.types import Scheme
from fedmed_nodes.custodian import Custodian, Effects, Settings
from fedmed_nodes.refusals import refusal_words, refused_study
from fedmed_nodes.status_view import refused_document
from fedmed_nodes.stores import MemorySecretStore, MemoryStore
from tests.federation import (
    COORDINATOR,
    DATASET,
    OPEN_POLICY,
    SetClock,
    Trial,
    identity_of,
    make_trial,
    roster_of,
    small_source,
    small_study,
)

POINT = 2


@pytest.fixture(scope="module")
def trial() -> Trial:
    return make_trial(scheme=Scheme.PLAIN)


def event_of(trial: Trial, policy: Policy, *, kind: PhaseKind = PhaseKind.PROPOSE) -> AuditEvent:
    """The entry of a message that this policy refuses."""
    node = trial.federation.nodes[POINT]
    node.with_policy(policy)
    request = trial.federation.sign(COORDINATOR, envelope.NONCE, b"", context=trial.digest, receiver=POINT)
    trial.federation.refused(POINT, kind, trial.proposal() if kind is PhaseKind.PROPOSE else request)
    return node.audit[-1].event


@pytest.mark.parametrize(
    ("policy", "code", "told"),
    [
        (
            replace(OPEN_POLICY, max_epsilon_per_study=1e-3),
            "study_refused",
            "max_epsilon_per_study: epsilon 1 is above 0.001;",
        ),
        (
            replace(OPEN_POLICY, max_epsilon_per_study=1e-3, max_epsilon_per_year=1e-3),
            "budget_exceeded",
            "max_epsilon_per_year: epsilon 1 is above the year's whole budget 0.001",
        ),
        (
            replace(OPEN_POLICY, schemes=frozenset({Scheme.THRESHOLD})),
            "study_refused",
            "schemes: scheme plain is not allowed here; use threshold",
        ),
    ],
    ids=["a study's epsilon", "a year's budget", "scheme"],
)
def test_the_log_names_study_rule_and_bound(trial: Trial, policy: Policy, code: str, told: str) -> None:
    event = event_of(trial, policy)
    assert (event.study, event.code) == (trial.digest.hex(), code)
    assert event.detail.startswith(f"query.propose: rule {told}")
    assert event.detail.endswith(f"[study {trial.spec.id}: {trial.spec.title}]")
    (shown,) = refused_document(trial.federation.nodes[POINT].audit)
    assert (shown["study"], shown["code"]) == (trial.digest.hex(), code)
    assert told in shown["why"]


def test_a_study_that_was_accepted_after_all_is_no_refused_one(trial: Trial) -> None:
    node = trial.federation.nodes[POINT]
    event_of(trial, replace(OPEN_POLICY, max_epsilon_per_study=1e-3))
    assert refused_document(node.audit)
    node.with_policy(OPEN_POLICY)
    trial.propose(POINT)
    assert refused_document(node.audit) == []


def test_a_custodian_refuses_an_owner_that_its_roster_does_not_list() -> None:
    """The coordinator signs every study; it cannot add an owner to a roster that provinces pinned."""
    spec, listed = (
        small_study(4, scheme=Scheme.PLAIN),
        replace(roster_of(4, threshold=3, colluders=1), owners=("NHSA",)),
    )
    settings = Settings(
        identity=identity_of(POINT),
        roster=listed,
        policy=OPEN_POLICY,
        datasets={DATASET: small_source(POINT)},
    )
    store = MemoryStore()
    custodian = Custodian(settings, Effects(store=store, secrets=MemorySecretStore(), clock=SetClock()))
    canonical, roster_digest = canonical_bytes(spec), wire.roster_digest(listed)
    proposal = StudyProposal(canonical=canonical, roster_digest=roster_digest, epoch_id=NO_EPOCH)
    data = envelope.sign_message(
        identity_of(COORDINATOR),
        envelope.STUDY,
        wire.encode_proposal(proposal),
        context=study_digest(canonical),
    )
    assert custodian.answer(PhaseKind.PROPOSE, (data,)).code == "study_refused"
    assert f"rule owner: {spec.owner} is not among" in store.audit(1)[0].event.detail


def test_a_later_phase_names_study_and_rule(trial: Trial) -> None:
    event = event_of(trial, replace(OPEN_POLICY, max_epsilon_per_study=1e-3), kind=PhaseKind.NONCE)
    assert event.study == trial.digest.hex()
    assert event.detail == "query.nonce: rule max_epsilon_per_study"


def test_a_message_that_the_coordinator_did_not_sign_belongs_to_no_study(trial: Trial) -> None:
    coordinator = trial.federation.roster.coordinator
    for parts in ((), (b"",), (b"x" * 40,)):
        assert refused_study(PhaseKind.PROPOSE, parts, coordinator) == b""
        assert refusal_words(PhaseKind.PROPOSE, parts, StudyRefused("x: y")) == "query.propose: rule x: y"
    strange = trial.federation.sign(1, envelope.STUDY, b"", context=trial.digest)
    assert refused_study(PhaseKind.PROPOSE, (strange,), coordinator) == b""


def test_the_log_keeps_no_title_that_the_coordinator_did_not_sign(trial: Trial) -> None:
    """Another's proposal leaves its code; what it calls its study stays out."""
    content = wire.decode_statement(wire.decode_signed(trial.proposal()).body).content
    forged = trial.federation.sign(1, envelope.STUDY, content, context=trial.digest)
    trial.federation.refused(POINT, PhaseKind.PROPOSE, forged)
    event = trial.federation.nodes[POINT].audit[-1].event
    assert (event.study, event.detail) == ("", "query.propose")


def test_the_text_of_an_error_that_saw_rows_is_not_kept(trial: Trial) -> None:
    """Guarantee of `refusal_words`: of what is no rule only the phase, and the study, are told."""
    words = refusal_words(PhaseKind.PROPOSE, (trial.proposal(),), DataContractError("7 rows of age 103"))
    assert words == f"query.propose [study {trial.spec.id}: {trial.spec.title}]"


def test_words_fit_an_entry() -> None:
    words = refusal_words(PhaseKind.PROPOSE, (), StudyRefused("models: \x1b[31m" + "医" * 1_000))
    assert words.isprintable()
    assert len(words.encode()) <= MAX_DETAIL_BYTES
