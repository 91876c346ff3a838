"""Renders hardened systemd units: one description of a service, one template for all of them.

What a unit takes away was tried with the service it is for: the custodian trains with writable-and-executable
memory denied, without any network and with no address family but AF_UNIX.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Final

from fedmed.errors import StoreFailed
from fedmed.types import require

# What systemd takes literally: no blank, quote, backslash, dollar or percent sign (systemd.service(5)).
_PLAIN: Final = re.compile(r"[A-Za-z0-9_@+=:,./~-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What a unit says.

    Attributes:
        name: The unit's name without ``.service``.
        description: One line for people.
        command: Program with its full path, and arguments.
        user: Whom it runs as.
        writable: Folders that it may write to.
        groups: Further groups.
        hidden: Folders that it must not even see.
        after: Units that it starts after.
        runtime_folder: Name of a folder below ``/run`` that is made for it.
        is_offline: Whether it has no network at all.
        network_lines: Comments and settings on the network, for the operator to complete.
        is_notifying: Whether it tells the service manager that it is ready and watches.
        uses_home: Whether one of its folders lies below ``/home`` or ``/root``.
        capabilities: What it may do of root's rights.
        threads: Threads of one numerical library.
    """

    name: str
    description: str
    command: tuple[str, ...]
    user: str
    writable: tuple[str, ...]
    groups: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    runtime_folder: str = ""
    is_offline: bool = False
    network_lines: tuple[str, ...] = ()
    is_notifying: bool = False
    uses_home: bool = False
    capabilities: tuple[str, ...] = ()
    threads: int = 1

    def __post_init__(self) -> None:
        for line in (self.description, *self.network_lines):
            require(line.isprintable(), "a unit's texts must have no control characters")
        for text in (self.name, self.user, *self.groups, *self.after):
            require(
                _PLAIN.fullmatch(text) is not None, f"a name in a unit must be one plain word, got {text}"
            )


def render_unit(service: Service) -> str:
    """The text of a unit file.

    Args:
        service: What it says.

    Raises:
        ConfigError: a path or argument has characters that systemd would read as something else.
    """
    return render("fedmed.supervision", "service.j2", s=service)


def render(package: str, name: str, **values: object) -> str:
    """Fill in a template of a package; its filter ``word`` admits plain paths and words only.

    Args:
        package: Dotted name of the package that ships the template.
        name: The template's file name.
        values: What it asks for.

    Raises:
        ConfigError: a value given to ``word`` has characters that the reader would take for something else.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  # no HTML; `word` admits nothing that needs escaping
    )
    environment.filters["word"] = _word
    text = (files(package) / name).read_text(encoding="utf-8")
    return environment.from_string(text).render(**values)


def _word(text: str) -> str:
    """A path or argument that stands in a file of settings as it is."""
    require(
        _PLAIN.fullmatch(text) is not None,
        f"a path or name here must have letters, digits and _@+=:,./~- only, got {text!r}; choose another",
    )
    return text


def write_units(services: Sequence[Service], folder: Path) -> list[Path]:
    """Write unit files into a folder, which root then copies to ``/etc/systemd/system``.

    Args:
        services: What they say.
        folder: Made where it is missing; files of the same names are replaced.

    Raises:
        ConfigError: as `render_unit`; nothing is written then.
        StoreFailed: the folder cannot be written.
    """
    texts = {f"{service.name}.service": render_unit(service) for service in services}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as fault:
        raise StoreFailed(f"{folder} cannot be written: {fault.strerror}") from fault
    return [folder / name for name in texts]
