from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Nothing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Piece(_message.Message):
    __slots__ = ("data", "ends_part")
    DATA_FIELD_NUMBER: _ClassVar[int]
    ENDS_PART_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    ends_part: bool
    def __init__(self, data: _Optional[bytes] = ..., ends_part: _Optional[bool] = ...) -> None: ...

class ReplyPiece(_message.Message):
    __slots__ = ("piece", "code")
    PIECE_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    piece: Piece
    code: str
    def __init__(self, piece: _Optional[_Union[Piece, _Mapping]] = ..., code: _Optional[str] = ...) -> None: ...

class DatasetCard(_message.Message):
    __slots__ = ("name", "declared_persons", "data_year", "withheld")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DECLARED_PERSONS_FIELD_NUMBER: _ClassVar[int]
    DATA_YEAR_FIELD_NUMBER: _ClassVar[int]
    WITHHELD_FIELD_NUMBER: _ClassVar[int]
    name: str
    declared_persons: int
    data_year: int
    withheld: str
    def __init__(self, name: _Optional[str] = ..., declared_persons: _Optional[int] = ..., data_year: _Optional[int] = ..., withheld: _Optional[str] = ...) -> None: ...

class Catalogue(_message.Message):
    __slots__ = ("node", "roster_digest", "datasets", "code", "signing_key", "sealing_key")
    NODE_FIELD_NUMBER: _ClassVar[int]
    ROSTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_FIELD_NUMBER: _ClassVar[int]
    SEALING_KEY_FIELD_NUMBER: _ClassVar[int]
    node: str
    roster_digest: bytes
    datasets: _containers.RepeatedCompositeFieldContainer[DatasetCard]
    code: str
    signing_key: bytes
    sealing_key: bytes
    def __init__(self, node: _Optional[str] = ..., roster_digest: _Optional[bytes] = ..., datasets: _Optional[_Iterable[_Union[DatasetCard, _Mapping]]] = ..., code: _Optional[str] = ..., signing_key: _Optional[bytes] = ..., sealing_key: _Optional[bytes] = ...) -> None: ...

class StudyRequest(_message.Message):
    __slots__ = ("study_digest",)
    STUDY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    study_digest: bytes
    def __init__(self, study_digest: _Optional[bytes] = ...) -> None: ...

class ActPlace(_message.Message):
    __slots__ = ("node", "roster_digest", "policy_digest", "approvals_needed", "counter", "head")
    NODE_FIELD_NUMBER: _ClassVar[int]
    ROSTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    POLICY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_NEEDED_FIELD_NUMBER: _ClassVar[int]
    COUNTER_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    node: str
    roster_digest: bytes
    policy_digest: bytes
    approvals_needed: int
    counter: int
    head: bytes
    def __init__(self, node: _Optional[str] = ..., roster_digest: _Optional[bytes] = ..., policy_digest: _Optional[bytes] = ..., approvals_needed: _Optional[int] = ..., counter: _Optional[int] = ..., head: _Optional[bytes] = ...) -> None: ...

class ColumnGrade(_message.Message):
    __slots__ = ("column", "grade")
    COLUMN_FIELD_NUMBER: _ClassVar[int]
    GRADE_FIELD_NUMBER: _ClassVar[int]
    column: str
    grade: str
    def __init__(self, column: _Optional[str] = ..., grade: _Optional[str] = ...) -> None: ...

class ReviewReply(_message.Message):
    __slots__ = ("canonical", "place", "operators", "signed_by", "state", "dataset", "data_year", "cap_epsilon", "spent_epsilon", "committed_epsilon", "with_study_epsilon", "grades", "remarks", "refusal", "code")
    CANONICAL_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    OPERATORS_FIELD_NUMBER: _ClassVar[int]
    SIGNED_BY_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    DATA_YEAR_FIELD_NUMBER: _ClassVar[int]
    CAP_EPSILON_FIELD_NUMBER: _ClassVar[int]
    SPENT_EPSILON_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_EPSILON_FIELD_NUMBER: _ClassVar[int]
    WITH_STUDY_EPSILON_FIELD_NUMBER: _ClassVar[int]
    GRADES_FIELD_NUMBER: _ClassVar[int]
    REMARKS_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    canonical: bytes
    place: ActPlace
    operators: _containers.RepeatedScalarFieldContainer[str]
    signed_by: _containers.RepeatedScalarFieldContainer[str]
    state: str
    dataset: str
    data_year: int
    cap_epsilon: float
    spent_epsilon: float
    committed_epsilon: float
    with_study_epsilon: float
    grades: _containers.RepeatedCompositeFieldContainer[ColumnGrade]
    remarks: _containers.RepeatedScalarFieldContainer[str]
    refusal: str
    code: str
    def __init__(self, canonical: _Optional[bytes] = ..., place: _Optional[_Union[ActPlace, _Mapping]] = ..., operators: _Optional[_Iterable[str]] = ..., signed_by: _Optional[_Iterable[str]] = ..., state: _Optional[str] = ..., dataset: _Optional[str] = ..., data_year: _Optional[int] = ..., cap_epsilon: _Optional[float] = ..., spent_epsilon: _Optional[float] = ..., committed_epsilon: _Optional[float] = ..., with_study_epsilon: _Optional[float] = ..., grades: _Optional[_Iterable[_Union[ColumnGrade, _Mapping]]] = ..., remarks: _Optional[_Iterable[str]] = ..., refusal: _Optional[str] = ..., code: _Optional[str] = ...) -> None: ...

class ActRequest(_message.Message):
    __slots__ = ("body", "signature")
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    body: bytes
    signature: bytes
    def __init__(self, body: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class ActReply(_message.Message):
    __slots__ = ("signed_by", "needed", "code")
    SIGNED_BY_FIELD_NUMBER: _ClassVar[int]
    NEEDED_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    signed_by: _containers.RepeatedScalarFieldContainer[str]
    needed: int
    code: str
    def __init__(self, signed_by: _Optional[_Iterable[str]] = ..., needed: _Optional[int] = ..., code: _Optional[str] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("code",)
    CODE_FIELD_NUMBER: _ClassVar[int]
    code: str
    def __init__(self, code: _Optional[str] = ...) -> None: ...

class StudyBudget(_message.Message):
    __slots__ = ("study_digest", "id", "title", "state", "reserved_epsilon", "spent_epsilon", "delta", "dataset", "data_year")
    STUDY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESERVED_EPSILON_FIELD_NUMBER: _ClassVar[int]
    SPENT_EPSILON_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    DATA_YEAR_FIELD_NUMBER: _ClassVar[int]
    study_digest: bytes
    id: str
    title: str
    state: str
    reserved_epsilon: float
    spent_epsilon: float
    delta: float
    dataset: str
    data_year: int
    def __init__(self, study_digest: _Optional[bytes] = ..., id: _Optional[str] = ..., title: _Optional[str] = ..., state: _Optional[str] = ..., reserved_epsilon: _Optional[float] = ..., spent_epsilon: _Optional[float] = ..., delta: _Optional[float] = ..., dataset: _Optional[str] = ..., data_year: _Optional[int] = ...) -> None: ...

class DatasetBudget(_message.Message):
    __slots__ = ("name", "data_year", "cap_epsilon", "committed_epsilon", "spent_epsilon", "fingerprint")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_YEAR_FIELD_NUMBER: _ClassVar[int]
    CAP_EPSILON_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_EPSILON_FIELD_NUMBER: _ClassVar[int]
    SPENT_EPSILON_FIELD_NUMBER: _ClassVar[int]
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    name: str
    data_year: int
    cap_epsilon: float
    committed_epsilon: float
    spent_epsilon: float
    fingerprint: bytes
    def __init__(self, name: _Optional[str] = ..., data_year: _Optional[int] = ..., cap_epsilon: _Optional[float] = ..., committed_epsilon: _Optional[float] = ..., spent_epsilon: _Optional[float] = ..., fingerprint: _Optional[bytes] = ...) -> None: ...

class BudgetRaise(_message.Message):
    __slots__ = ("fingerprint", "data_year", "cap_epsilon", "signed_by", "needed", "reason", "signed_at")
    FINGERPRINT_FIELD_NUMBER: _ClassVar[int]
    DATA_YEAR_FIELD_NUMBER: _ClassVar[int]
    CAP_EPSILON_FIELD_NUMBER: _ClassVar[int]
    SIGNED_BY_FIELD_NUMBER: _ClassVar[int]
    NEEDED_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    SIGNED_AT_FIELD_NUMBER: _ClassVar[int]
    fingerprint: bytes
    data_year: int
    cap_epsilon: float
    signed_by: _containers.RepeatedScalarFieldContainer[str]
    needed: int
    reason: str
    signed_at: str
    def __init__(self, fingerprint: _Optional[bytes] = ..., data_year: _Optional[int] = ..., cap_epsilon: _Optional[float] = ..., signed_by: _Optional[_Iterable[str]] = ..., needed: _Optional[int] = ..., reason: _Optional[str] = ..., signed_at: _Optional[str] = ...) -> None: ...

class BudgetReply(_message.Message):
    __slots__ = ("studies", "datasets", "code", "place", "raises", "restored")
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    PLACE_FIELD_NUMBER: _ClassVar[int]
    RAISES_FIELD_NUMBER: _ClassVar[int]
    RESTORED_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedCompositeFieldContainer[StudyBudget]
    datasets: _containers.RepeatedCompositeFieldContainer[DatasetBudget]
    code: str
    place: ActPlace
    raises: _containers.RepeatedCompositeFieldContainer[BudgetRaise]
    restored: str
    def __init__(self, studies: _Optional[_Iterable[_Union[StudyBudget, _Mapping]]] = ..., datasets: _Optional[_Iterable[_Union[DatasetBudget, _Mapping]]] = ..., code: _Optional[str] = ..., place: _Optional[_Union[ActPlace, _Mapping]] = ..., raises: _Optional[_Iterable[_Union[BudgetRaise, _Mapping]]] = ..., restored: _Optional[str] = ...) -> None: ...

class AuditTailRequest(_message.Message):
    __slots__ = ("last",)
    LAST_FIELD_NUMBER: _ClassVar[int]
    last: int
    def __init__(self, last: _Optional[int] = ...) -> None: ...

class AuditReply(_message.Message):
    __slots__ = ("entry", "code")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    entry: bytes
    code: str
    def __init__(self, entry: _Optional[bytes] = ..., code: _Optional[str] = ...) -> None: ...
