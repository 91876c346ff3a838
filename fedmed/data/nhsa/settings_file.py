"""The settings file of the quality gate: TOML, checked once and whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from fedmed.data.nhsa.settings import QualitySettings
from fedmed.errors import ConfigError
from fedmed.study_faults import parse_settings

Rate = Annotated[float, Field(ge=0, le=1)]
Yuan = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class QualityFile(BaseModel):
    """``quality.toml``: the fields of `fedmed.data.nhsa.settings.QualitySettings`, explained there."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    gate: Rate = QualitySettings().gate
    money: Yuan = QualitySettings().money
    line: Yuan = QualitySettings().line
    stay_days: Annotated[int, Field(ge=1)] = QualitySettings().stay_days
    late_days: Annotated[int, Field(ge=1)] = QualitySettings().late_days
    off: tuple[str, ...] = ()
    allowed: dict[str, Rate] = {}
    codes: dict[str, tuple[str, ...]] = {}


def load_quality_settings(path: Path) -> QualitySettings:
    """Read a settings file.

    Raises:
        ConfigError: all faults in one error, a line each; an unknown key names the nearest right one.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"cannot read {path}: {fault.strerror}; name a settings file") from None
    except UnicodeDecodeError as fault:
        raise ConfigError(f"{path} is not TOML: {fault}") from None
    written = parse_settings(text, QualityFile, path=path)
    return QualitySettings(
        gate=written.gate,
        money=written.money,
        line=written.line,
        stay_days=written.stay_days,
        late_days=written.late_days,
        off=frozenset(written.off),
        allowed=written.allowed,
        codes=written.codes,
    )
