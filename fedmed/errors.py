"""Every error that FedMed raises on purpose, each with a stable code.

The tree; a branch answers *who must act*, and its number is the exit code of the command line::

    FedMedError (1)
    |-- RowsNotIndependent (1)      whoever chose this machine's torch and processor
    |-- ConfigError (2)             the person who wrote the settings or the study file
    |   |-- PlatformUnsupported
    |   `-- SignatureNeeded, ActStale, RaiseRefused
    |-- DataContractError (7)       the province's data steward
    |-- StudyRefused (3)            the study's owner: a province's policy said no
    |   |-- BudgetExceeded (4)
    |   |-- CohortTooSmall
    |   |-- StudyRevoked
    |   `-- TooFewNodes (5)
    |-- ApprovalPending (8)         the province's operator
    |-- StoreFailed (1)             the province's operator: disk, permission or a second process
    |   `-- StoreConflict
    |-- ProcessFailed (1)           the operator of the machine where a process would not start or stay
    |-- StudyStopped (130)          nobody: the coordinator's operator stopped a study on purpose
    |-- CustodianUnreachable (1)    the province's operator: the custodian does not run, or not for this user
    |   `-- CustodianBusy
    |-- ProtocolError (3)           the other party sent what the protocol forbids
    `-- IntegrityError (6)          the other party, or whoever altered the bytes

Across the wire goes the code and nothing else: a text can carry a patient's value. Messages are for
the person at the machine where the error was raised; they name the argument, the bound and the remedy.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

_RULE: Final = re.compile(r"([a-z][a-z_. ]{0,39}): ")


class FedMedError(Exception):
    """Root of all errors that FedMed raises on purpose."""

    code: ClassVar[str] = "fedmed_error"
    exit_code: ClassVar[int] = 1


class RowsNotIndependent(FedMedError):
    """On this machine one row's gradient depends on other rows; FedMed does not train here."""

    code = "rows_not_independent"


class ConfigError(FedMedError):
    """A setting, argument or study file is not usable as written."""

    code = "config_error"
    exit_code = 2


class PlatformUnsupported(ConfigError):
    """FedMed's ring arithmetic needs Linux on x86-64."""

    code = "platform_unsupported"


class SignatureNeeded(ConfigError):
    """The policy lists operators: the act needs the signature of one of them, see --key."""

    code = "signature_needed"


class ActStale(ConfigError):
    """The act was signed on another state of this node, or came twice: look again and sign anew."""

    code = "act_stale"


class RaiseRefused(ConfigError):
    """A raise must be above the present cap of a registered dataset, signed by listed operators."""

    code = "raise_refused"


class DataContractError(FedMedError):
    """A province's table does not hold what the study needs."""

    code = "data_unfit"
    exit_code = 7


class StudyRefused(FedMedError):
    """A province's policy does not allow this study."""

    code = "study_refused"
    exit_code = 3

    @property
    def rule(self) -> str:
        """The rule that refused, with which the message begins (``schemes: ...``); empty without one."""
        found = _RULE.match(str(self))
        return "" if found is None else found[1]


class BudgetExceeded(StudyRefused):
    """The plan would spend more privacy budget than is left."""

    code = "budget_exceeded"
    exit_code = 4


class CohortTooSmall(StudyRefused):
    """Fewer insured persons are declared than the study or the policy asks for."""

    code = "cohort_too_small"


class StudyRevoked(StudyRefused):
    """The province's operators withdrew their approval for good; propose a changed study."""

    code = "study_revoked"


class TooFewNodes(StudyRefused):
    """Too few nodes answered to open a sum."""

    code = "too_few_nodes"
    exit_code = 5


class ApprovalPending(FedMedError):
    """The study waits for a province's operator."""

    code = "approval_pending"
    exit_code = 8


class StoreFailed(FedMedError):
    """A province's store cannot be read or written; nothing was changed."""

    code = "store_failed"


class StoreConflict(StoreFailed):
    """The store was written by somebody else since it was read; nothing was changed."""

    code = "store_conflict"


class CustodianUnreachable(FedMedError):
    """The province's custodian does not answer on its socket."""

    code = "custodian_unreachable"


class CustodianBusy(CustodianUnreachable):
    """The custodian had no thread or memory free for this message; nothing was changed."""

    code = "custodian_busy"


class ProcessFailed(FedMedError):
    """A process that a launcher started did not come up, stay up or finish."""

    code = "process_failed"


class StudyStopped(FedMedError):
    """The coordinator's operator stopped the study while it was being watched."""

    code = "study_stopped"
    exit_code = 130


class ProtocolError(FedMedError):
    """The other party sent what the protocol forbids."""

    code = "protocol_error"
    exit_code = 3


class IntegrityError(FedMedError):
    """A signature, digest, ciphertext or opened value does not hold."""

    code = "integrity_failure"
    exit_code = 6


# --- ProtocolError: what a custodian refuses (PROTOCOL.md section 6), one code each -----------------


class StudyUnknown(ProtocolError):
    """The study was never proposed here, or was not approved."""

    code = "study_unknown"


class StudyExpired(ProtocolError):
    """The study's last day has passed."""

    code = "study_expired"


class StudyEnded(ProtocolError):
    """The coins of this study's canaries were shown at its end; propose a changed study."""

    code = "study_ended"


class RosterMismatch(ProtocolError):
    """The roster is not the one that the operator pinned."""

    code = "roster_mismatch"


class EpochMismatch(ProtocolError):
    """The key epoch is unknown, inactive, stopped or not the study's."""

    code = "epoch_mismatch"


class CeremonyStopped(ProtocolError):
    """The ceremony was stopped; a stopped ceremony is never resumed."""

    code = "ceremony_stopped"


class MessageMalformed(ProtocolError):
    """A message has the wrong type, length or encoding."""

    code = "message_malformed"


class WrongReceiver(ProtocolError):
    """A message was meant for another receiver or context."""

    code = "wrong_receiver"


class PlanNotNewer(ProtocolError):
    """The plan's (round, attempt) is not above the last one accepted."""

    code = "plan_not_newer"


class PlanOutOfRange(ProtocolError):
    """The round or the attempt lies outside what the study declares."""

    code = "plan_out_of_range"


class PlansExhausted(ProtocolError):
    """The study has used all plans that it declared."""

    code = "plans_exhausted"


class PlanNotAccepted(ProtocolError):
    """The plan was not accepted by this process, or was superseded."""

    code = "plan_not_accepted"


class NonceMismatch(ProtocolError):
    """The plan does not carry this custodian's open nonce."""

    code = "nonce_mismatch"


class InputsMismatch(ProtocolError):
    """The inputs are not those that the plan's digest names."""

    code = "inputs_mismatch"


class ParametersUnfit(ProtocolError):
    """Model parameters are not finite, too large or of the wrong shape."""

    code = "parameters_unfit"


class LayoutMismatch(ProtocolError):
    """Layout or noise differ from what this custodian computes from the study."""

    code = "layout_mismatch"


class SecondContribution(ProtocolError):
    """A second, different contribution was asked for one attempt."""

    code = "second_contribution"


class SecondOpening(ProtocolError):
    """A second, different set was asked for one attempt."""

    code = "second_opening"


class SetMalformed(ProtocolError):
    """S or T is not a strictly increasing list of roster points inside the nonce list."""

    code = "set_malformed"


class SetTooSmall(ProtocolError):
    """S has fewer contributors than the noise, the colluders or the study need."""

    code = "set_too_small"


class OpenersMiscounted(ProtocolError):
    """T does not hold exactly ``threshold`` custodians, or not this one."""

    code = "openers_miscounted"


class HeaderMissing(ProtocolError):
    """A member of S has no header, or there is a header too many."""

    code = "header_missing"


class HeaderPlanMismatch(ProtocolError):
    """A header names another plan."""

    code = "header_plan_mismatch"


class HeaderNotMine(ProtocolError):
    """The header given for this custodian is not the one that it sent."""

    code = "header_not_mine"


class ChunkOutsidePlan(ProtocolError):
    """A header or message names another number of chunks than the plan's layout has."""

    code = "chunk_outside_plan"


class SetChanged(ProtocolError):
    """S differs from the sets that this custodian may still answer in this study."""

    code = "set_changed"


class NoLongerContributing(ProtocolError):
    """The first set answered here lacked this node: it contributes no more in this study."""

    code = "no_longer_contributing"


class RestoredFromBackup(ProtocolError):
    """This custodian was restored from a backup after the study had begun."""

    code = "restored_from_backup"


class EpochExhausted(ProtocolError):
    """The key epoch has opened as many polynomials as its smudging margin allows."""

    code = "epoch_exhausted"


class DifferencingRefused(ProtocolError):
    """The question differs from an answered one by too few nodes or persons."""

    code = "differencing_refused"


class SignatureInvalid(IntegrityError):
    """A signature does not hold for the roster's key."""

    code = "signature_invalid"


class CiphertextMalformed(IntegrityError):
    """A polynomial has the wrong size or a residue out of range."""

    code = "ciphertext_malformed"


class DigestMismatch(IntegrityError):
    """Bytes do not have the digest that their header names."""

    code = "digest_mismatch"


class OpeningOutOfBounds(IntegrityError):
    """An opened field lies outside its bound: a bad share, contribution or mixed epochs."""

    code = "opening_out_of_bounds"


class SumForged(IntegrityError):
    """A sum to open is not that of the contributions of its set under its plan and epoch."""

    code = "sum_forged"


class SealingInvalid(IntegrityError):
    """A sealed share does not open under this key and context."""

    code = "sealing_invalid"


class RehearsalFailed(IntegrityError):
    """A ceremony's rehearsal did not decode to zero."""

    code = "rehearsal_failed"


class ReleaseBroken(IntegrityError):
    """Something in a release bundle does not hold."""

    code = "release_broken"


class AuditFailed(IntegrityError):
    """The audit block of a study does not hold: its model must not be released."""

    code = "audit_failed"


class UnknownVersion(IntegrityError):
    """A stored or received format has a version that this code does not know."""

    code = "unknown_version"


class StoreSetBack(IntegrityError):
    """A province's store is older than what this node wrote: an old copy was put back."""

    code = "store_set_back"


class KeyNotUsable(ConfigError):
    """A province's key was revoked, or is not the one that its log names."""

    code = "key_not_usable"


class UnknownPrivacyEvent(ConfigError):
    """An event that the accounting does not know; unknown means refuse."""

    code = "unknown_privacy_event"


def all_errors() -> dict[str, type[FedMedError]]:
    """Map every code to its class.

    Returns:
        One entry for each subclass of `FedMedError`, itself included.

    Guarantees:
        Codes are unique: two classes with one code raise `AssertionError` here.
    """
    found: dict[str, type[FedMedError]] = {}
    waiting: list[type[FedMedError]] = [FedMedError]
    while waiting:
        error = waiting.pop()
        if found.setdefault(error.code, error) is not error:
            raise AssertionError(f"two errors share the code {error.code}")
        waiting.extend(error.__subclasses__())
    return found


def error_from_code(code: str, context: str) -> FedMedError:
    """Turn a code that came over the wire into the error it names.

    Args:
        code: A stable code; an unknown one gives a plain `ProtocolError`.
        context: Public words on where it came from, for instance ``custodian shanghai, contribute``.

    Returns:
        An error to raise; its text holds the code, the context and nothing from the sender.
    """
    kind = all_errors().get(code, ProtocolError)
    meaning = (kind.__doc__ or "").strip().splitlines()[0]
    return kind(f"{context}: {kind.code}: {meaning}")
