"""Reads the text of a study file."""

from __future__ import annotations

from pathlib import Path

from fedmed.errors import ConfigError


def read_study_text(path: Path) -> str:
    """The text of a study file.

    Raises:
        ConfigError: the file cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8")
    except OSError as fault:
        raise ConfigError(f"cannot read {path}: {fault.strerror}; write one with fedmed study new") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; save it as UTF-8") from None
