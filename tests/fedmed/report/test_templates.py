"""Packaged templates escape what they print, and pages carry their style."""

from __future__ import annotations

import pytest

from fedmed.report.templates import load_template, style


def test_templates_are_loaded_once_and_miss_no_name() -> None:
    from jinja2 import UndefinedError

    assert load_template("page.html.j2") is load_template("page.html.j2")
    with pytest.raises(UndefinedError):
        load_template("page.html.j2").render()


def test_the_style_refers_to_nothing_outside() -> None:
    assert "--accent" in style()
    assert not any(word in style() for word in ("http", "@import", "url("))
