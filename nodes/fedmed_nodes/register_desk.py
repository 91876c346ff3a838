"""``fedmed node register``: read a dataset once as the custodian will, and write down what it holds."""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Final

from fedmed.data.nhsa.gate import check_folder, check_opened
from fedmed.data.nhsa.settings import QualitySettings
from fedmed.data.nhsa.settings_file import load_quality_settings
from fedmed.data.nhsa.standing import published_scores, quality_refusal
from fedmed.errors import ConfigError, DataContractError, StoreFailed
from fedmed.study import StudySpec, as_training
from fedmed_nodes import private_folder
from fedmed_nodes.claims_source import ClaimTables
from fedmed_nodes.home import Home
from fedmed_nodes.node_config import NODE_FILE, DatasetTable, NodeFile, parse_node
from fedmed_nodes.node_text import with_registration
from fedmed_nodes.registration import Reading, read_through

_MOST_SETTINGS_BYTES: Final = 1 << 20


def register_dataset(home: Home, name: str, *, study: StudySpec | None = None) -> Reading:
    """Register a dataset of a home, and look whether a study could be served from its rows.

    The process must be the home's user already (`fedmed_nodes.home.become`), so that what can be registered
    can be served. A custodian may run meanwhile: it has read its settings, and takes the new ones when it
    starts again.

    Args:
        home: The node's home, by its absolute path.
        name: The dataset, as ``node.toml`` names it.
        study: Its persons, columns and outcome are checked as well.

    Returns:
        What was read and written; counts of rows and persons are for the operator alone.

    Raises:
        ConfigError: the settings, or rights to files and database; the study means another dataset.
        DataContractError: the rows do not fit, or its claims cannot be read; the text counts rows.
        StoreFailed: the rows or the settings cannot be reached.

    Guarantees:
        ``node.toml`` is replaced whole, with mode 0600, only if all checks held and nobody edited it.
    """
    with _alone(home) as folder:
        text = _settings(home, folder)
        node = parse_node(text, home.path / NODE_FILE)
        at = _position(node, name)
        if study is not None:
            _require_same(study, node.dataset[at], home)
        spec = None if study is None else as_training(study).dataset_spec
        found = read_through(node.dataset[at].entry(home.path), spec)
        quality = _quality(home, node.dataset[at])
        new = with_registration(
            text,
            at,
            columns=found.entry.columns,
            fingerprint=found.entry.fingerprint,
            quality=quality,
        )
        parse_node(new, home.path / NODE_FILE)
        replace_settings(home, folder, old=text, new=new)
    withheld = quality_refusal(quality, home.policy().quality_gate)
    return replace(found, quality=quality, withheld=withheld)


def replace_settings(home: Home, folder: int, *, old: str, new: str) -> None:
    """Replace ``node.toml`` whole, with mode 0600, unless it is no longer as it was read.

    Args:
        home: The node's home.
        folder: Its descriptor.
        old: What was read.
        new: What to write.

    Raises:
        ConfigError: somebody edited it in the meantime; nothing was changed.
        StoreFailed: it cannot be written; the old file is still there.
    """
    if _settings(home, folder) != old:
        raise ConfigError(f"{NODE_FILE} was edited while the rows were read; register the dataset again")
    try:
        private_folder.replace_file(NODE_FILE, new.encode(), folder=folder)
    except OSError as fault:
        raise StoreFailed(f"{NODE_FILE} cannot be written: {fault.strerror}") from fault


@contextlib.contextmanager
def _alone(home: Home) -> Iterator[int]:
    """The home's descriptor, held against a second registration; the custodian's own lock is another."""
    with private_folder.open_folder(home.path, hidden=True) as folder:
        try:
            fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StoreFailed(f"another registration runs on {home.path}; wait for its end") from None
        yield folder


def _quality(home: Home, dataset: DatasetTable) -> Mapping[str, float]:
    """Scores of the insurance tables that a dataset is made from; none where it names no tables."""
    own = dataset.quality_settings
    settings = QualitySettings() if own is None else load_quality_settings(home.path / own)
    memory_mib = dataset.memory_mib
    if dataset.claims is not None:
        folder = home.path / dataset.claims
        return published_scores(
            check_folder(folder, settings, memory_mib=memory_mib, threads=dataset.threads)
        )
    stored = dataset.entry(home.path).stored_table
    if not isinstance(stored, ClaimTables):
        return {}
    with stored.opened() as tables:
        return published_scores(check_opened(tables, settings, memory_mib=memory_mib))


def _settings(home: Home, folder: int) -> str:
    """The text of ``node.toml``, line ends as they are."""
    data = private_folder.read_file(NODE_FILE, folder=folder, path=home.path, most=_MOST_SETTINGS_BYTES)
    try:
        return (data or b"").decode()
    except UnicodeDecodeError:
        raise ConfigError(f"{NODE_FILE} is not UTF-8 text; save it as UTF-8") from None


def _position(node: NodeFile, name: str) -> int:
    """Where a dataset stands in the settings."""
    names = [dataset.name for dataset in node.dataset]
    if name not in names:
        there = f"only {', '.join(names)}" if names else "none yet"
        raise ConfigError(f"{NODE_FILE} has no dataset {name}, {there}; add a [[dataset]] for it there")
    return names.index(name)


def _require_same(study: StudySpec, dataset: DatasetTable, home: Home) -> None:
    """What a custodian would refuse at once; all of it is public."""
    data, node = study.data, home.identity().name
    declared = data.declared_persons.get(node)
    if data.dataset != dataset.name:
        raise ConfigError(f"the study reads dataset {data.dataset}, not {dataset.name}")
    if declared is None:
        raise ConfigError(f"the study has no node {node}; its nodes are {', '.join(study.nodes)}")
    if declared != dataset.declared_persons:
        raise DataContractError(
            f"declared_persons: the study says {declared} for {node}, {NODE_FILE} {dataset.declared_persons}"
        )
    if data.person != dataset.person:
        raise DataContractError(f"person: the study says {data.person}, {NODE_FILE} {dataset.person}")
    found = dataset.recipe(home.path)
    if data.feature_set not in (None, "" if found is None else found.reference):
        there = "none" if found is None else found.reference
        raise DataContractError(f"feature_set: the study says {data.feature_set}, {NODE_FILE} gives {there}")
