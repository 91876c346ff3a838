"""The packaged templates of HTML pages, and the one style sheet that all of them carry inside."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from fedmed.report.units import byte_size, count, duration

if TYPE_CHECKING:
    from jinja2 import Template


@cache
def load_template(name: str) -> Template:
    """Load a template that lies beside this module.

    Args:
        name: Its file name.

    Guarantees:
        Everything that it prints is escaped, unless the template itself says ``safe``; a name that it is
        not given is an error.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(count=count, byte_size=byte_size, duration=duration)
    return environment.from_string(_text(name))


def style() -> str:
    """The style sheet, to stand inside a page: pages refer to nothing outside themselves."""
    return _text("style.css")


def _text(name: str) -> str:
    """A packaged text."""
    return files("fedmed.report").joinpath(name).read_text(encoding="utf-8")
