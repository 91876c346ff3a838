"""Studies from Python, for notebooks: run one in simulation and get data frames, files and a page.

    >>> result = run("inpatient_cost.toml", "provinces")          # doctest: +SKIP
    >>> result.frame("mean_cost")                                  # doctest: +SKIP

What a deployed study left behind is read by `load`.
"""

from __future__ import annotations

import html
import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fedmed.errors import ConfigError
from fedmed.progress import OnProgress, ignore_progress
from fedmed.report.answers.answer import Answer, Document
from fedmed.report.answers.by_kind import answer_of
from fedmed.report.answers.files import arrow_table, write_answer
from fedmed.report.answers.page import render_answer
from fedmed.study import StudySpec, TrainingStudy, load_study

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

RESULT_NAME, STUDY_NAME = "result.json", "study.toml"
PAGE_HEIGHT = 720
"""Height of the page in a notebook, in CSS pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """What a study of statistics, regression or survival found.

    Attributes:
        document: The result document, as ``result.json`` holds it.
        answer: The same as tidy tables, figures and words.
        study_text: The study file that it came from.
    """

    document: Document
    answer: Answer
    study_text: str

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the tables, the main one first."""
        return tuple(table.name for table in self.answer.tables)

    def frame(self, name: str | None = None) -> pd.DataFrame:
        """One table as a data frame: a row an observation, a blank is missing.

        Args:
            name: One of `names`; None = the first.

        Raises:
            ConfigError: there is no such table, or pandas is not installed.
        """
        tables = {table.name: table for table in self.answer.tables}
        chosen = self.names[0] if name is None else name
        if chosen not in tables:
            raise ConfigError(f"no table {chosen!r}; there are {', '.join(tables)}")
        try:
            import pandas  # noqa: F401  # Arrow would say less clearly what is missing
        except ImportError:
            raise ConfigError("data frames need pandas; install fedmed[notebook]") from None
        frame: pd.DataFrame = arrow_table(tables[chosen]).to_pandas()
        return frame

    def save(self, folder: Path | str) -> Path:
        """Write ``study.toml``, ``result.json``, page, tables (Parquet, CSV) and figures (SVG).

        Returns:
            The page's path.

        Raises:
            ConfigError: the folder cannot be written to.
        """
        place = Path(folder)
        page = write_answer(place, self.document)
        (place / STUDY_NAME).write_text(self.study_text, encoding="utf-8")
        text = json.dumps(self.document, ensure_ascii=False, indent=2, allow_nan=False)
        (place / RESULT_NAME).write_text(text, encoding="utf-8")
        return page

    def _repr_html_(self) -> str:
        """The page, in a frame of its own so that its looks and the notebook's do not mix."""
        page = html.escape(render_answer(self.document, self.answer))
        style = f"width:100%;height:{PAGE_HEIGHT}px;border:0"
        return f'<iframe srcdoc="{page}" style="{style}" sandbox=""></iframe>'


def run(
    study: StudySpec | Path | str,
    data: Mapping[str, pa.Table | pd.DataFrame] | Path | str,
    *,
    on_progress: OnProgress = ignore_progress,
) -> StudyResult:
    """Run a study in simulation: every node in this process, with its own rows, keys and store.

    Args:
        study: A study, or the path of its file.
        data: Rows of each node by node key, or a folder with a folder a node
            (`fedmed.data.provinces`).
        on_progress: Called at each step.

    Raises:
        ConfigError: the study cannot be read, or is a training study (``fedmed study run`` runs it).
        DataContractError: the rows do not hold what the study needs.
        FedMedError: whatever else stops the study.
    """
    from fedmed.simulation import run_question
    from fedmed.study import to_toml

    spec = study if isinstance(study, StudySpec) else load_study(_text(Path(study)))
    if isinstance(spec, TrainingStudy):
        raise ConfigError("a training study has arms and a model; run it with fedmed study run")
    with tempfile.TemporaryDirectory(prefix="fedmed-study-") as folder:
        document = run_question(spec, _tables(spec, data), folder=Path(folder), on_progress=on_progress)
    return StudyResult(document=document, answer=answer_of(document), study_text=to_toml(spec))


def load(folder: Path | str) -> StudyResult:
    """The result of a finished run, simulated or deployed.

    Args:
        folder: Holds ``result.json`` and ``study.toml``.

    Raises:
        ConfigError: one of them is missing or cannot be read.
    """
    place = Path(folder)
    try:
        document = json.loads(_text(place / RESULT_NAME))
    except ValueError:
        raise ConfigError(f"{place / RESULT_NAME} is not JSON; run the study again") from None
    return StudyResult(document=document, answer=answer_of(document), study_text=_text(place / STUDY_NAME))


def _tables(spec: StudySpec, data: Mapping[str, pa.Table | pd.DataFrame] | Path | str) -> dict[str, pa.Table]:
    """Arrow tables by node."""
    if isinstance(data, Path | str):
        from fedmed.data.provinces import province_tables

        return province_tables(Path(data), spec.data.dataset, nodes=spec.nodes, columns=spec.columns)
    import pyarrow as pa

    return {
        node: rows if isinstance(rows, pa.Table) else pa.Table.from_pandas(rows, preserve_index=False)
        for node, rows in data.items()
    }


def _text(path: Path) -> str:
    """The text of a file."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise ConfigError(f"cannot read {path} as text: {fault}; give the path of another file") from None
