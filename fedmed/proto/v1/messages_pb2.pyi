from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Signed(_message.Message):
    __slots__ = ("type", "body", "signature")
    TYPE_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    SIGNATURE_FIELD_NUMBER: _ClassVar[int]
    type: str
    body: bytes
    signature: bytes
    def __init__(self, type: _Optional[str] = ..., body: _Optional[bytes] = ..., signature: _Optional[bytes] = ...) -> None: ...

class Statement(_message.Message):
    __slots__ = ("sender", "receiver", "context", "audit_head", "audit_counter", "content")
    SENDER_FIELD_NUMBER: _ClassVar[int]
    RECEIVER_FIELD_NUMBER: _ClassVar[int]
    CONTEXT_FIELD_NUMBER: _ClassVar[int]
    AUDIT_HEAD_FIELD_NUMBER: _ClassVar[int]
    AUDIT_COUNTER_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    sender: str
    receiver: str
    context: bytes
    audit_head: bytes
    audit_counter: int
    content: bytes
    def __init__(self, sender: _Optional[str] = ..., receiver: _Optional[str] = ..., context: _Optional[bytes] = ..., audit_head: _Optional[bytes] = ..., audit_counter: _Optional[int] = ..., content: _Optional[bytes] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("name", "signing_key", "sealing_key")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIGNING_KEY_FIELD_NUMBER: _ClassVar[int]
    SEALING_KEY_FIELD_NUMBER: _ClassVar[int]
    name: str
    signing_key: bytes
    sealing_key: bytes
    def __init__(self, name: _Optional[str] = ..., signing_key: _Optional[bytes] = ..., sealing_key: _Optional[bytes] = ...) -> None: ...

class Roster(_message.Message):
    __slots__ = ("version", "members", "threshold", "colluders", "coordinator", "owners")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MEMBERS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    COLLUDERS_FIELD_NUMBER: _ClassVar[int]
    COORDINATOR_FIELD_NUMBER: _ClassVar[int]
    OWNERS_FIELD_NUMBER: _ClassVar[int]
    version: int
    members: _containers.RepeatedCompositeFieldContainer[Member]
    threshold: int
    colluders: int
    coordinator: Member
    owners: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, version: _Optional[int] = ..., members: _Optional[_Iterable[_Union[Member, _Mapping]]] = ..., threshold: _Optional[int] = ..., colluders: _Optional[int] = ..., coordinator: _Optional[_Union[Member, _Mapping]] = ..., owners: _Optional[_Iterable[str]] = ...) -> None: ...

class Study(_message.Message):
    __slots__ = ("canonical", "roster_digest", "epoch_id")
    CANONICAL_FIELD_NUMBER: _ClassVar[int]
    ROSTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    EPOCH_ID_FIELD_NUMBER: _ClassVar[int]
    canonical: bytes
    roster_digest: bytes
    epoch_id: bytes
    def __init__(self, canonical: _Optional[bytes] = ..., roster_digest: _Optional[bytes] = ..., epoch_id: _Optional[bytes] = ...) -> None: ...

class Nonce(_message.Message):
    __slots__ = ("nonce",)
    NONCE_FIELD_NUMBER: _ClassVar[int]
    nonce: bytes
    def __init__(self, nonce: _Optional[bytes] = ...) -> None: ...

class Dealing(_message.Message):
    __slots__ = ("blob_digests",)
    BLOB_DIGESTS_FIELD_NUMBER: _ClassVar[int]
    blob_digests: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, blob_digests: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Transcript(_message.Message):
    __slots__ = ("digest",)
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    digest: bytes
    def __init__(self, digest: _Optional[bytes] = ...) -> None: ...

class Rehearsals(_message.Message):
    __slots__ = ("plan_digests", "header_digests")
    PLAN_DIGESTS_FIELD_NUMBER: _ClassVar[int]
    HEADER_DIGESTS_FIELD_NUMBER: _ClassVar[int]
    plan_digests: _containers.RepeatedScalarFieldContainer[bytes]
    header_digests: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, plan_digests: _Optional[_Iterable[bytes]] = ..., header_digests: _Optional[_Iterable[bytes]] = ...) -> None: ...

class PointNonce(_message.Message):
    __slots__ = ("point", "nonce")
    POINT_FIELD_NUMBER: _ClassVar[int]
    NONCE_FIELD_NUMBER: _ClassVar[int]
    point: int
    nonce: bytes
    def __init__(self, point: _Optional[int] = ..., nonce: _Optional[bytes] = ...) -> None: ...

class Layout(_message.Message):
    __slots__ = ("grid", "limit", "tail", "values", "field_bits", "fields", "parameter_set", "noise_scale")
    GRID_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    FIELD_BITS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    PARAMETER_SET_FIELD_NUMBER: _ClassVar[int]
    NOISE_SCALE_FIELD_NUMBER: _ClassVar[int]
    grid: float
    limit: int
    tail: int
    values: int
    field_bits: int
    fields: int
    parameter_set: str
    noise_scale: float
    def __init__(self, grid: _Optional[float] = ..., limit: _Optional[int] = ..., tail: _Optional[int] = ..., values: _Optional[int] = ..., field_bits: _Optional[int] = ..., fields: _Optional[int] = ..., parameter_set: _Optional[str] = ..., noise_scale: _Optional[float] = ...) -> None: ...

class Plan(_message.Message):
    __slots__ = ("study_digest", "epoch_id", "roster_digest", "kind", "round_number", "attempt", "nonces", "inputs_digest", "layout", "planned_contributors", "dropouts", "colluders")
    STUDY_DIGEST_FIELD_NUMBER: _ClassVar[int]
    EPOCH_ID_FIELD_NUMBER: _ClassVar[int]
    ROSTER_DIGEST_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROUND_NUMBER_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    NONCES_FIELD_NUMBER: _ClassVar[int]
    INPUTS_DIGEST_FIELD_NUMBER: _ClassVar[int]
    LAYOUT_FIELD_NUMBER: _ClassVar[int]
    PLANNED_CONTRIBUTORS_FIELD_NUMBER: _ClassVar[int]
    DROPOUTS_FIELD_NUMBER: _ClassVar[int]
    COLLUDERS_FIELD_NUMBER: _ClassVar[int]
    study_digest: bytes
    epoch_id: bytes
    roster_digest: bytes
    kind: str
    round_number: int
    attempt: int
    nonces: _containers.RepeatedCompositeFieldContainer[PointNonce]
    inputs_digest: bytes
    layout: Layout
    planned_contributors: int
    dropouts: int
    colluders: int
    def __init__(self, study_digest: _Optional[bytes] = ..., epoch_id: _Optional[bytes] = ..., roster_digest: _Optional[bytes] = ..., kind: _Optional[str] = ..., round_number: _Optional[int] = ..., attempt: _Optional[int] = ..., nonces: _Optional[_Iterable[_Union[PointNonce, _Mapping]]] = ..., inputs_digest: _Optional[bytes] = ..., layout: _Optional[_Union[Layout, _Mapping]] = ..., planned_contributors: _Optional[int] = ..., dropouts: _Optional[int] = ..., colluders: _Optional[int] = ...) -> None: ...

class Header(_message.Message):
    __slots__ = ("chunk_digests", "next_nonce")
    CHUNK_DIGESTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_NONCE_FIELD_NUMBER: _ClassVar[int]
    chunk_digests: _containers.RepeatedScalarFieldContainer[bytes]
    next_nonce: bytes
    def __init__(self, chunk_digests: _Optional[_Iterable[bytes]] = ..., next_nonce: _Optional[bytes] = ...) -> None: ...

class OpeningRequest(_message.Message):
    __slots__ = ("contributors", "openers", "headers")
    CONTRIBUTORS_FIELD_NUMBER: _ClassVar[int]
    OPENERS_FIELD_NUMBER: _ClassVar[int]
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    contributors: _containers.RepeatedScalarFieldContainer[int]
    openers: _containers.RepeatedScalarFieldContainer[int]
    headers: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, contributors: _Optional[_Iterable[int]] = ..., openers: _Optional[_Iterable[int]] = ..., headers: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Answer(_message.Message):
    __slots__ = ("contributors", "openers", "chunk_digests", "next_nonce")
    CONTRIBUTORS_FIELD_NUMBER: _ClassVar[int]
    OPENERS_FIELD_NUMBER: _ClassVar[int]
    CHUNK_DIGESTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_NONCE_FIELD_NUMBER: _ClassVar[int]
    contributors: _containers.RepeatedScalarFieldContainer[int]
    openers: _containers.RepeatedScalarFieldContainer[int]
    chunk_digests: _containers.RepeatedScalarFieldContainer[bytes]
    next_nonce: bytes
    def __init__(self, contributors: _Optional[_Iterable[int]] = ..., openers: _Optional[_Iterable[int]] = ..., chunk_digests: _Optional[_Iterable[bytes]] = ..., next_nonce: _Optional[bytes] = ...) -> None: ...
