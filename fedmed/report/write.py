"""The report's only door to the disk."""

from __future__ import annotations

from pathlib import Path

from fedmed.errors import ConfigError
from fedmed.report.page import render_html
from fedmed.report.result import Result

PAGE_NAME = "report.html"


def write_report(folder: Path, result: Result) -> Path:
    """Render a result and write it as ``report.html``.

    Args:
        folder: The run's folder; made when it is not there.
        result: What to report.

    Returns:
        The page's path.

    Guarantees:
        The page replaces an older one whole or not at all; nothing is written when rendering fails.

    Raises:
        ConfigError: The folder cannot be written to.
    """
    page = render_html(result).encode()
    target, draft = folder / PAGE_NAME, folder / f".{PAGE_NAME}.draft"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(page)
        draft.replace(target)
    except OSError as fault:
        raise ConfigError(
            f"cannot write {target}: {fault.strerror}; choose a folder that can be written"
        ) from fault
    return target
