"""What a province's operator writes: ``node.toml`` and ``policy.toml``, each checked once and whole.

Neither file has a key that touches randomness: noise comes from the operating system and from nowhere else.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fedmed.data.feature_sets.compile import Derivation
from fedmed.data.feature_sets.definition import (
    PERSON_YEAR,
    FeatureSet,
    derived_grades,
    packaged_feature_set,
    parse_feature_set,
)
from fedmed.data.feature_sets.recipe import Recipe
from fedmed.data.feature_sets.stays import StayDerivation, StayTable
from fedmed.data.nhsa.schema import Grade, schema
from fedmed.errors import ConfigError
from fedmed.governance.operators import MOST_OPERATORS, Operators
from fedmed.governance.policy import AutoApprove, Grades, Policy
from fedmed.study import PURPOSES
from fedmed.study_faults import parse_settings
from fedmed.types import Mode, Scheme
from fedmed_nodes.pieces import SOCKET
from fedmed_nodes.registration import DatasetEntry, SourceKind
from fedmed_nodes.sources import PERSON

NODE_FILE: Final = "node.toml"
POLICY_FILE: Final = "policy.toml"
_STAYS: Final = frozenset(table.value for table in StayTable)

Text = Annotated[str, Field(min_length=1, max_length=4_096, pattern=r"^[^\x00-\x1f\x7f]+$")]
Digest = Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")]
File = TypeVar("File", bound=BaseModel)


class _Table(BaseModel):
    """A section: frozen, no unknown keys, no silent conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class SocketTable(_Table):
    """``[socket]``: where the relay and the operator find the custodian, and who they are.

    Attributes:
        path: Absolute path; empty = ``run/custodian.sock`` in the home, which only the custodian's own user
            and root can reach.
        group: Group that may relay; empty = nobody but the custodian's user.
        operator_group: Group that may approve and look at budget and log, as well; its members must be in
            ``group`` too, which owns the socket.
    """

    path: Annotated[str, Field(pattern=r"^(/[^\x00-\x1f\x7f]*)?$")] = ""
    group: str = ""
    operator_group: str = ""


class DatasetTable(_Table):
    """``[[dataset]]``: one table, in files or in PostgreSQL.

    Attributes:
        name: As studies call it.
        declared_persons: Insured persons in it, as the catalogue says publicly.
        data_year: Year that its rows describe.
        kind: ``csv``, ``parquet`` or ``postgresql``; left out = by the ending of ``path``.
        path: For files: path or pattern; a relative one counts from the home.
        connection_file: For PostgreSQL: private file with the connection string, as ``path`` from the home.
        table: For PostgreSQL: the table or view.
        schema: For PostgreSQL: its schema; ``db_schema`` in Python, where pydantic has the name.
        person: Column with the person's pseudonym; a study that names another one is refused.
        columns: Columns that studies may read; ``fedmed node register`` writes all that there are.
        fingerprint: Digest of their contents in hexadecimal; ``fedmed node register`` writes it.
        grades: Grade of each column that has one, beyond those that FedMed's schema gives the columns of a
            table of this name; a policy may allow columns by grade.
        claims: Folder with the insurance tables that the dataset was made from, as ``path`` from the home;
            ``fedmed node register`` checks them.
        features: Derive the rows from the claims when a study asks, in place of ``path`` or ``table``:
            ``person_year`` or a set's TOML file, where ``data_year`` is the year of the features; or
            ``stay`` or ``first_stay`` (`fedmed.data.feature_sets.stays`), from ``data_year`` to ``last_day``.
            The claims are those of ``claims``, or of ``schema`` in PostgreSQL.
        regions: For ``features``: the node's own regions, such as ``310000``; whoever is insured elsewhere
            is another node's.
        last_day: For stays: last day that the claims tell of, public.
        quality: Their scores; ``fedmed node register`` writes them, and a policy may ask for them.
        quality_settings: TOML file of the quality gate's tolerances, regional codes and rules that are off,
            as ``fedmed data check --settings`` takes, as ``path`` from the home; the catalogue then says
            that the scores are by the province's own.
        memory_mib: Bound of DuckDB's memory.
        threads: DuckDB's threads.
    """

    name: Text
    declared_persons: Annotated[int, Field(ge=1)]
    data_year: Annotated[int, Field(ge=1900, le=9999)]
    kind: SourceKind | None = None
    path: Text | None = None
    connection_file: Text | None = None
    table: Text | None = None
    db_schema: Annotated[Text, Field(alias="schema")] = "public"
    person: Text = PERSON
    columns: tuple[Text, ...] = ()
    fingerprint: Digest = ""
    grades: Mapping[Text, Grade] = {}
    claims: Text | None = None
    features: Text | None = None
    regions: tuple[Annotated[str, Field(pattern=r"^[1-9][0-9]{5}$")], ...] = ()
    last_day: datetime.date | None = None
    quality: Mapping[Text, Annotated[float, Field(ge=0, le=1)]] = {}
    quality_settings: Text | None = None
    memory_mib: Annotated[int, Field(ge=64, le=1 << 20)] = 512
    threads: Annotated[int, Field(ge=1, le=256)] = 1

    @model_validator(mode="after")
    def _is_a_source(self) -> Self:
        """Refuse what `DatasetEntry` refuses, columns that stand twice, and half a registration."""
        doubled = sorted({name for name in self.columns if self.columns.count(name) > 1})
        if doubled:
            raise ValueError(f"columns must differ, {', '.join(doubled)} stands there twice")
        if self.fingerprint and not self.columns:
            raise ValueError("fingerprint needs its columns: remove it and register the dataset again")
        if self.quality_settings is not None and self.claims is None and self.features is None:
            raise ValueError("quality_settings is for claims: name their folder as claims, or remove it")
        if bool(self.regions) != (self.features is not None):
            raise ValueError("features and regions go together: whose persons are derived must be said")
        if (self.last_day is not None) != (self.features in _STAYS):
            raise ValueError("last_day and features stay or first_stay go together: a period needs its end")
        try:
            # Building it opens nothing; any folder does, and any feature set.
            recipe = None if self.features is None else self._recipe(packaged_feature_set())
            _ = self._entry(Path("/"), recipe).stored_table
        except ConfigError as fault:
            raise ValueError(str(fault)) from None
        return self

    @property
    def column_grades(self) -> Grades:
        """Grade by column: the schema's for a table that it knows, then what the operator wrote."""
        known = schema()
        columns = known.table(self.name).columns if self.name in known.names else ()
        derived = {} if self.features is None else derived_grades(self.columns)
        return {column.name: column.grade for column in columns} | derived | dict(self.grades)

    def entry(self, home: Path) -> DatasetEntry:
        """What `fedmed_nodes.registration` works with.

        Args:
            home: The node's home, absolute; relative paths count from it.

        Raises:
            ConfigError: the file of a feature set cannot be read, or is none.
        """
        return self._entry(home, self.recipe(home))

    def recipe(self, home: Path) -> Recipe | None:
        """What derives the rows, if they are derived; errors as `entry`."""
        if self.features is None:
            return None
        is_packaged = self.features == PERSON_YEAR or self.features in _STAYS
        return self._recipe(
            packaged_feature_set() if is_packaged else parse_feature_set(_text(home / self.features))
        )

    def _recipe(self, features: FeatureSet) -> Recipe:
        """Stays, or what a feature set says."""
        if self.last_day is None:
            return Derivation(features=features, year=self.data_year, regions=self.regions)
        return StayDerivation(
            table=StayTable(self.features),
            year=self.data_year,
            last_day=self.last_day,
            regions=self.regions,
        )

    def _entry(self, home: Path, recipe: Recipe | None) -> DatasetEntry:
        """See `entry`."""
        return DatasetEntry(
            kind=self.kind,
            path=None if self.path is None else home / self.path,
            connection_file=None if self.connection_file is None else home / self.connection_file,
            table=self.table or "",
            schema=self.db_schema,
            declared_persons=self.declared_persons,
            data_year=self.data_year,
            columns=self.columns,
            fingerprint=bytes.fromhex(self.fingerprint),
            person=self.person,
            claims=None if self.features is None or self.claims is None else home / self.claims,
            derivation=recipe,
            memory_mib=self.memory_mib,
            threads=self.threads,
        )


class NodeFile(_Table):
    """``node.toml``.

    Attributes:
        version: 1.
        user: The custodian's own user; it owns the home.
        roster_digest: Digest of ``roster.bin`` in hexadecimal; empty until the operator pins it.
        socket: See `SocketTable`.
        dataset: The datasets; a custodian serves them once they are registered.
    """

    version: Literal[1]
    user: Text
    roster_digest: Digest = ""
    socket: SocketTable = SocketTable()
    dataset: tuple[DatasetTable, ...] = ()


class OperatorsTable(_Table):
    """``[operators]``: who may approve, revoke and raise, by signature.

    Attributes:
        approvals_needed: Different operators for each act.
        keys: Ed25519 public keys in hexadecimal by name; ``fedmed node operator-key`` prints such a line.
    """

    approvals_needed: Annotated[int, Field(ge=1, le=MOST_OPERATORS)]
    keys: Mapping[str, Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]


class AutoApproveTable(_Table):
    """``[auto_approve_if]``: the fields of `fedmed.governance.policy.AutoApprove`, explained there."""

    max_epsilon: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    purposes: tuple[str, ...] | None = None
    modes: tuple[Mode, ...] | None = None
    owners: tuple[str, ...] | None = None


class PolicyFile(_Table):
    """``policy.toml``: the fields of `fedmed.governance.policy.Policy`, explained there.

    ``auto_approve`` says all or none; ``[auto_approve_if]`` says which, in its place.
    """

    version: Literal[1]
    max_epsilon_per_study: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    max_epsilon_per_year: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    modes: tuple[Mode, ...] = (Mode.AGGREGATE,)
    schemes: tuple[Scheme, ...] = (Scheme.THRESHOLD,)
    purposes: tuple[str, ...] = PURPOSES
    models: tuple[str, ...] | None = None
    grades: tuple[Grade, ...] | None = None
    allow_ungraded: bool = False
    denied_columns: tuple[Text, ...] = ()
    min_cohort: Annotated[int, Field(ge=1)] = 100
    min_contributors: Annotated[int, Field(ge=3)] = 3
    min_threshold: Annotated[int | None, Field(ge=2)] = None
    min_dropouts: Annotated[int | None, Field(ge=0)] = None
    min_colluders: Annotated[int | None, Field(ge=0)] = None
    allow_continue: bool = False
    exact_statistics: bool = False
    research: bool = False
    auto_approve: bool = False
    auto_approve_if: AutoApproveTable | None = None
    operators: OperatorsTable | None = None
    expires: datetime.date | None = None
    quality_gate: Annotated[float | None, Field(ge=0, le=1)] = None
    min_cell: Annotated[int, Field(ge=5, le=30)] = 11
    differencing_window_days: Annotated[int, Field(ge=1)] = 365

    @model_validator(mode="after")
    def _approves_in_one_way(self) -> Self:
        """A file that says both would hide the rules behind a yes to everything."""
        if self.auto_approve and self.auto_approve_if is not None:
            raise ValueError("auto_approve = true approves everything: remove it, or [auto_approve_if]")
        return self

    @property
    def policy(self) -> Policy:
        """The policy that the file describes; raises `ConfigError` for what no policy may have."""
        # `Any`: the fields of the file, which has checked them, are those of the policy by name.
        values: dict[str, Any] = {name: _as_set(getattr(self, name)) for name in PolicyFile.model_fields}
        del values["version"]
        rules, operators = values.pop("auto_approve_if"), values["operators"]
        if rules is not None:
            fields: dict[str, Any] = {
                name: _as_set(getattr(rules, name)) for name in AutoApproveTable.model_fields
            }
            values["auto_approve"] = AutoApprove(**fields)
        if operators is not None:
            keys = {name: bytes.fromhex(key) for name, key in operators.keys.items()}
            values["operators"] = Operators(keys=keys, approvals_needed=operators.approvals_needed)
        return Policy(**values)


def _as_set(value: object) -> object:
    """Lists in a policy have no order."""
    return frozenset(value) if isinstance(value, tuple) else value


def load_node(path: Path) -> NodeFile:
    """Read ``node.toml``.

    Raises:
        ConfigError: all faults in one error, a line each; an unknown key names the nearest right one.
    """
    return parse_node(_text(path), path)


def parse_node(text: str, path: Path) -> NodeFile:
    """As `load_node`, from text that was read from ``path``."""
    node = parse_settings(text, NodeFile, path=path)
    names = [dataset.name for dataset in node.dataset]
    doubled = sorted({name for name in names if names.count(name) > 1})
    if doubled:
        raise ConfigError(f"{path}: dataset names must differ, {', '.join(doubled)} stands there twice")
    return node


def load_policy(path: Path) -> Policy:
    """Read ``policy.toml``.

    Raises:
        ConfigError: as for `load_node`, or a value that no policy may have.
    """
    try:
        return parse_settings(_text(path), PolicyFile, path=path).policy
    except ConfigError as fault:
        words = str(fault)
        raise ConfigError(words if words.startswith(str(path)) else f"{path}: {words}") from None


def load_settings(path: Path, kind: type[File], *, made_by: str) -> File:
    """Read a settings file, made by the command ``made_by``, into its model; raises as `load_node`."""
    return parse_settings(_text(path, made_by=made_by), kind, path=path)


def socket_of(node: NodeFile, home: Path) -> Path:
    """Where the custodian of a home listens."""
    return Path(node.socket.path) if node.socket.path else home / SOCKET


def _text(path: Path, *, made_by: str = "fedmed node init") -> str:
    """A settings file's text; ``made_by`` is the command that would have written the file."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"cannot read {path}: {fault.strerror}; make it with {made_by}") from None
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path} is not TOML: {fault}") from None


NODE_TEMPLATE: Final = """\
# This province's node. Unknown keys are refused.
version = 1
user = {user}              # the custodian runs as this user, which owns this folder
roster_digest = ""          # digest of roster.bin: compare it with the coordinator by telephone, then pin it

[socket]
# path = "/run/fedmed/custodian.sock"   # where a relay under another user can reach it
# group = "fedmed"                      # who may relay
# operator_group = "fedmed-operators"   # who may also approve and look at budget and log

# Each dataset is read once by: fedmed node register HOME NAME, which writes columns and fingerprint here.
# [[dataset]]
# name = "person_year"
# path = "/srv/fedmed/person_year.parquet"   # or .csv, .csv.gz; a relative path counts from this folder
# declared_persons = 120000             # public
# data_year = 2025
# claims = "/srv/fedmed/claims"         # the insurance tables it was made from; registering checks them
# quality_settings = "quality.toml"     # regional codes, tolerances: as for fedmed data check --settings
# grades = {{ age = "sensitive" }}        # public, internal, sensitive, restricted: see policy.toml

# A row a person, made from the claims when a study asks, by a public feature set that studies name by digest.
# [[dataset]]
# name = "person_year_2025"
# features = "person_year"
# claims = "/srv/fedmed/claims"         # or connection_file and schema, in PostgreSQL; either is scored
# regions = ["310000"]                  # this node's own: whoever is insured elsewhere is another node's
# declared_persons = 120000
# data_year = 2025                      # year of the features; outcomes are of 2026
# memory_mib = 4096

# A row a hospital stay, each at one node alone; or "first_stay", each person's first with what came after.
# [[dataset]]
# name = "stay"
# features = "stay"
# claims = "/srv/fedmed/claims"
# regions = ["310000"]
# declared_persons = 120000
# data_year = 2024                      # from its first day
# last_day = 2025-12-31                 # to this one: the last that the claims tell of

# [[dataset]]
# name = "settlements"
# kind = "postgresql"
# connection_file = "settlements.conn"  # mode 0600: host=... dbname=... user=... password=...
# table = "settlement"
# schema = "public"
# declared_persons = 120000
# data_year = 2025
# columns = ["psn_no", "fund_pay_sumamt"]   # what studies may read; all columns if left out
"""

POLICY_TEMPLATE: Final = """\
# What this province allows; the data holder writes it. Unknown keys are refused.
version = 1
max_epsilon_per_study = 1.0
max_epsilon_per_year = 2.0  # binds a year from its first study on; then only a signed raise lifts it
min_cohort = 100
auto_approve = false        # every study waits for: fedmed node approve HOME DIGEST
# expires = 2027-12-31                  # after this day every study is refused, begun or not
# modes = ["aggregate"]
# schemes = ["threshold"]
# purposes = ["academic_research"]      # all known purposes if left out
# models = ["logistic", "mlp"]          # all if left out
# grades = ["public", "internal", "sensitive"]   # columns by grade; one without a grade is then refused
# allow_ungraded = false
# quality_gate = 0.95                   # no study may read a dataset that scores less, or has no score
# denied_columns = ["brdy"]             # never computed on, whatever their grade
# min_contributors = 3
# min_threshold = 3
# min_dropouts = 1
# min_colluders = 1
# allow_continue = false
# exact_statistics = false   # sums without noise, for statistics, regression and survival
# min_cell = 11              # fewest persons of a cell that such sums may show, 5 to 30
# differencing_window_days = 365        # studies that ask nearly the same meanwhile are refused
# research = false

# Instead of auto_approve: which of the allowed studies start by themselves. All conditions must hold.
# [auto_approve_if]
# max_epsilon = 0.2
# purposes = ["supervision"]
# modes = ["aggregate"]
# owners = ["National Healthcare Security Administration"]

# Who may approve, revoke and raise the budget, by signature; without it, whoever is in the operators' group.
# [operators]
# approvals_needed = 2
# [operators.keys]
# "li.wei" = "..."        # the line that fedmed node operator-key FILE --name li.wei prints
# "wang.fang" = "..."
"""
