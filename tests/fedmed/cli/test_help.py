"""Every command's help has an example and shows every word that was written for it."""

from collections.abc import Iterator

import click
import pytest

from fedmed.cli.edge import load_command


def commands(
    command: click.Command, words: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """A command and all below it, with the words that call them."""
    yield words, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            yield from commands(command.commands[name], (*words, name))


ROOT = load_command()
COMMANDS = dict(commands(ROOT))


def test_every_command_has_an_example_that_calls_it() -> None:
    for words, command in COMMANDS.items():
        if not isinstance(command, click.Group):
            example = (command.epilog or "").removeprefix("Example: ").removeprefix("sudo ")
            assert example.startswith(" ".join(("fedmed", *words, ""))) or example == " ".join(
                ("fedmed", *words)
            ), words


# Rich takes what stands in square brackets for its markup and leaves it out.
@pytest.mark.slow
def test_help_shows_every_word_of_every_option(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "400")
    for words, command in COMMANDS.items():
        ROOT.main([*words, "--help"], prog_name="fedmed", standalone_mode=False)
        shown = " ".join(capsys.readouterr().out.split())
        for text in (command.help, command.epilog, *(getattr(one, "help", None) for one in command.params)):
            assert " ".join((text or "").split()) in shown, words
