"""The report's only door to the disk."""

from __future__ import annotations

from pathlib import Path

from fedmed.errors import ConfigError
from fedmed.report.audit_page import AUDIT_DOCUMENT, AUDIT_PAGE, render_audit
from fedmed.report.audit_result import AuditResult
from fedmed.report.page import render_html
from fedmed.report.result import Result

PAGE_NAME = "report.html"


def write_audit(folder: Path, audit: AuditResult) -> Path:
    """Write an audit as ``audit.html`` and, after it, ``audit.json``.

    Args:
        folder: The run's folder; made when it is not there.
        audit: What to report.

    Returns:
        The page's path.

    Raises:
        ConfigError: The folder cannot be written to.
    """
    _replace(folder / AUDIT_PAGE, render_audit(audit))
    _replace(folder / AUDIT_DOCUMENT, audit.to_json())
    return folder / AUDIT_PAGE


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
    return _replace(folder / PAGE_NAME, render_html(result))


def _replace(target: Path, text: str) -> Path:
    """Put a file in its place, whole or not at all."""
    draft = target.with_name(f".{target.name}.draft")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        draft.write_bytes(text.encode())
        draft.replace(target)
    except OSError as fault:
        raise ConfigError(
            f"cannot write {target}: {fault.strerror}; choose a folder that can be written"
        ) from fault
    return target
