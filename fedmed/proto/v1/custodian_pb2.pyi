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
    __slots__ = ("name", "declared_persons", "data_year")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DECLARED_PERSONS_FIELD_NUMBER: _ClassVar[int]
    DATA_YEAR_FIELD_NUMBER: _ClassVar[int]
    name: str
    declared_persons: int
    data_year: int
    def __init__(self, name: _Optional[str] = ..., declared_persons: _Optional[int] = ..., data_year: _Optional[int] = ...) -> None: ...

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

class ApproveRequest(_message.Message):
    __slots__ = ("study_digest",)
    STUDY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    study_digest: bytes
    def __init__(self, study_digest: _Optional[bytes] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("code",)
    CODE_FIELD_NUMBER: _ClassVar[int]
    code: str
    def __init__(self, code: _Optional[str] = ...) -> None: ...

class StudyBudget(_message.Message):
    __slots__ = ("study_digest", "id", "title", "state", "reserved_epsilon", "spent_epsilon", "delta")
    STUDY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    TITLE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    RESERVED_EPSILON_FIELD_NUMBER: _ClassVar[int]
    SPENT_EPSILON_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    study_digest: bytes
    id: str
    title: str
    state: str
    reserved_epsilon: float
    spent_epsilon: float
    delta: float
    def __init__(self, study_digest: _Optional[bytes] = ..., id: _Optional[str] = ..., title: _Optional[str] = ..., state: _Optional[str] = ..., reserved_epsilon: _Optional[float] = ..., spent_epsilon: _Optional[float] = ..., delta: _Optional[float] = ...) -> None: ...

class DatasetBudget(_message.Message):
    __slots__ = ("name", "data_year", "cap_epsilon", "committed_epsilon")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DATA_YEAR_FIELD_NUMBER: _ClassVar[int]
    CAP_EPSILON_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_EPSILON_FIELD_NUMBER: _ClassVar[int]
    name: str
    data_year: int
    cap_epsilon: float
    committed_epsilon: float
    def __init__(self, name: _Optional[str] = ..., data_year: _Optional[int] = ..., cap_epsilon: _Optional[float] = ..., committed_epsilon: _Optional[float] = ...) -> None: ...

class BudgetReply(_message.Message):
    __slots__ = ("studies", "datasets", "code")
    STUDIES_FIELD_NUMBER: _ClassVar[int]
    DATASETS_FIELD_NUMBER: _ClassVar[int]
    CODE_FIELD_NUMBER: _ClassVar[int]
    studies: _containers.RepeatedCompositeFieldContainer[StudyBudget]
    datasets: _containers.RepeatedCompositeFieldContainer[DatasetBudget]
    code: str
    def __init__(self, studies: _Optional[_Iterable[_Union[StudyBudget, _Mapping]]] = ..., datasets: _Optional[_Iterable[_Union[DatasetBudget, _Mapping]]] = ..., code: _Optional[str] = ...) -> None: ...

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
