"""``fedmed node log, key, pin, epochs, backup, restore``: what keeps a node's books and keys in order.

`fedmed_nodes.cli` takes these commands in; each loads what it needs when it runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from fedmed.crypto.identity import PublicIdentity

app = typer.Typer()
key = typer.Typer(help="Show, change, revoke or replace this province's identity key.", no_args_is_help=True)
epochs = typer.Typer(help="Show or end the key epochs whose shares lie here.", no_args_is_help=True)
app.add_typer(key, name="key")
app.add_typer(epochs, name="epochs")

HomeFolder = Annotated[Path, typer.Argument(metavar="HOME", help="The node's home folder.")]
Place = Annotated[Path, typer.Argument(metavar="HOME", help="The node's home, or its custodian's socket.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]
_NEXT_ROSTER = (
    "next: send the card to the coordinator and compare it by telephone; the coordinator runs fedmed server "
    "roster replace; then every province pins the new roster: fedmed node pin"
)


@app.command(epilog="Example: fedmed node log /var/lib/fedmed --verify. Exit code 6: an entry does not hold.")
def log(
    home: Place,
    last: Annotated[int, typer.Option(min=0, help="Entries to show; 0 = all.")] = 20,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check the whole chain and its signatures, sealed files too.")
    ] = False,
    offline: Annotated[
        bool, typer.Option("--offline", help="Read the files themselves: no custodian needs to run.")
    ] = False,
    card: Annotated[
        Path | None, typer.Option(help="The node's card to check against, instead of its own word.")
    ] = None,
    expect: Annotated[
        str, typer.Option(metavar="COUNTER:HEAD", help="A head that somebody else kept of this node.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Show the audit log, and find any edit, gap, cut or reordering in it."""
    from fedmed.crypto.card import read_card
    from fedmed.errors import CustodianUnreachable
    from fedmed_nodes import log_views
    from fedmed_nodes.asking import custodian_at
    from fedmed_nodes.home import Home

    check = None
    if verify or card is not None or expect:
        check = log_views.Check(
            card=None if card is None else read_card(_text(card)),
            expected=log_views.read_expected(expect) if expect else None,
        )
    count = None if check is not None or last == 0 else last
    if offline:
        found = log_views.stored_log(Home(home.absolute()), last=count, check=check)
    else:
        try:
            found = log_views.asked_log(custodian_at(home), last=count, check=check)
        except CustodianUnreachable as fault:
            raise type(fault)(f"{fault}; --offline reads the files without it") from None
    shown = found.entries[-last:] if last else found.entries
    document = log_views.log_document(found, shown)
    typer.echo(json.dumps(document, ensure_ascii=False) if as_json else log_views.log_lines(found, shown))


@app.command("seal-log", epilog="Example: fedmed node seal-log /var/lib/fedmed")
def seal_log(
    home: HomeFolder,
    keep: Annotated[int, typer.Option(min=1, help="Newest entries that stay in the store.")] = 1_000,
    as_json: AsJson = False,
) -> None:
    """Rotate the log: seal its older part into a read-only file; stop the custodian first.

    The chain goes on behind the file. A custodian that runs seals by itself above 20,000 entries.
    """
    from fedmed_nodes.books import open_books, operators_home

    with open_books(operators_home(home)) as books:
        file = books.store.seal(books.logbook, keep=keep)
        where = books.store.archive.path
    told = None if file is None else {"file": str(where / file.name), "first": file.first, "last": file.last}
    text = (
        f"the store has no more than the {keep} to keep: nothing to seal"
        if file is None
        else f"sealed entries {file.first} to {file.last} in {where / file.name}"
    )
    typer.echo(json.dumps({"sealed": told}) if as_json else text)


# --- Keys ---------------------------------------------------------------------------------------------


@key.command(epilog="Example: fedmed node key show /var/lib/fedmed")
def show(home: HomeFolder, as_json: AsJson = False) -> None:
    """Show the card of the present key, and of the next one if it was made."""
    from fedmed_nodes.books import operators_home
    from fedmed_nodes.key_desk import next_card

    place = operators_home(home)
    following = next_card(place)
    cards = {"card": place.card()} | ({} if following is None else {"next": following})
    _print_cards(cards, as_json=as_json)


@key.command(epilog="Example: fedmed node key rotate /var/lib/fedmed > shanghai.toml")
def rotate(home: HomeFolder, as_json: AsJson = False) -> None:
    """Make the next key and print its card; stop the custodian first, start it again afterwards.

    The node works on with its present key. The change happens when you pin the roster that has the new card.
    """
    from fedmed_nodes.books import open_books, operators_home
    from fedmed_nodes.key_desk import make_next_key

    place = operators_home(home)
    with open_books(place) as books:
        card = make_next_key(place, books.logbook, name=books.identity.name)
    _print_cards({"card": card}, as_json=as_json)
    _say(_NEXT_ROSTER)


@key.command(epilog='Example: fedmed node key revoke /var/lib/fedmed --reason "laptop stolen"')
def revoke(
    home: HomeFolder,
    reason: Annotated[str, typer.Option(help="Public words for the log.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """End a key that may be in other hands; every key epoch ends with it. Stop the custodian first."""
    from fedmed_nodes.books import open_books, operators_home
    from fedmed_nodes.key_desk import revoke_key

    place = operators_home(home)
    _ask(f"end the key of {place.path} for good, and all key epochs?", yes=yes)
    with open_books(place) as books:
        public = books.identity.public
        revoke_key(books.logbook, books.secrets, public=public, reason=reason)
    told = {"revoked": public.signing_key.hex()}
    typer.echo(json.dumps(told) if as_json else f"revoked {public.signing_key.hex()}")
    _say(
        "next: tell the coordinator and all provinces by telephone not to believe this key; then: "
        f"fedmed node key replace {home}"
    )


@key.command(epilog="Example: fedmed node key replace /var/lib/fedmed > shanghai.toml")
def replace(
    home: HomeFolder,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a new key for one that was lost or revoked, and print its card; stop the custodian first."""
    import contextlib

    from fedmed_nodes.books import operators_home
    from fedmed_nodes.clock import SystemClock
    from fedmed_nodes.key_desk import replace_key

    place = operators_home(home)
    _ask(f"take a new key for {place.path}? The old one signs nothing more", yes=yes)
    with place.locked(), contextlib.closing(place.store()) as store:
        card = replace_key(place, store, clock=SystemClock())
    _print_cards({"card": card}, as_json=as_json)
    _say(_NEXT_ROSTER)


@app.command(epilog="Example: fedmed node pin /var/lib/fedmed 4c9c...b4 --roster roster.bin")
def pin(
    home: HomeFolder,
    digest: Annotated[str, typer.Argument(metavar="DIGEST", help="As you heard it from the coordinator.")],
    roster: Annotated[Path | None, typer.Option(help="The roster file. Default: HOME/roster.bin.")] = None,
    as_json: AsJson = False,
) -> None:
    """Pin a roster, and change to the next key if the roster names it; stop the custodian first.

    Compare the digest with the coordinator by telephone, never by the way on which the file came. An older
    roster is refused. All key epochs end.
    """
    from fedmed_nodes.books import open_books, operators_home
    from fedmed_nodes.home import ROSTER_FILE
    from fedmed_nodes.roster_pin import pin_roster

    data = _bytes(home / ROSTER_FILE if roster is None else roster)
    with open_books(operators_home(home)) as books:
        changed = pin_roster(books, data, digest)
    text = f"pinned {digest}" + ("; this node signs with its new key from now on" if changed else "")
    typer.echo(json.dumps({"pinned": digest, "key_changed": changed}) if as_json else text)
    _say("next: start the custodian: fedmed node serve, or fedmed node up")


# --- Epochs -------------------------------------------------------------------------------------------


@epochs.command("list", epilog="Example: fedmed node epochs list /var/lib/fedmed")
def list_epochs(home: HomeFolder, as_json: AsJson = False) -> None:
    """List the key epochs whose shares lie here."""
    from fedmed_nodes.books import operators_home
    from fedmed_nodes.epoch_desk import epoch_document, epoch_lines, held_epochs

    found = held_epochs(operators_home(home))
    typer.echo(json.dumps(epoch_document(found)) if as_json else epoch_lines(found))


@epochs.command(epilog="Example: fedmed node epochs end /var/lib/fedmed 4c9c...b4, or --all")
def end(
    home: HomeFolder,
    epoch: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Epochs, in full.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="End every epoch.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Destroy key shares for good: their studies cannot go on here. Stop the custodian first."""
    from fedmed_nodes.books import open_books, operators_home
    from fedmed_nodes.epoch_desk import end_chosen

    place = operators_home(home)
    _ask(f"destroy the key shares of {'all epochs' if everything else 'these epochs'}?", yes=yes)
    with open_books(place) as books:
        ended = end_chosen(books, epoch or [], everything=everything)
    text = "\n".join(f"ended {e}" for e in ended) or "no key shares lie here"
    typer.echo(json.dumps({"ended": list(ended)}) if as_json else text)


# --- Backup -------------------------------------------------------------------------------------------


@app.command(epilog="Example: fedmed node backup /var/lib/fedmed /srv/backup/fedmed-2026-03-02.tar")
def backup(
    home: HomeFolder,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new file.")],
    as_json: AsJson = False,
) -> None:
    """Write ledger, log, policy, settings and roster into one signed file; a custodian may run meanwhile.

    No key is in it. Keep a copy of identity.key apart, sealed in a safe; never copy the folder secrets.
    """
    from fedmed_nodes.backup_desk import back_up
    from fedmed_nodes.books import operators_home

    manifest = back_up(operators_home(home), file)
    counter, head = manifest.head.counter, manifest.head.head.hex()
    told = {"file": str(file), "counter": counter, "head": head, "charges": manifest.charges}
    text = f"backed up to {file}: log up to entry {counter}, {manifest.charges} charges in the ledger"
    typer.echo(json.dumps(told) if as_json else text)


@app.command(epilog="Example: fedmed node restore /var/lib/fedmed /srv/backup/fedmed-2026-03-02.tar")
def restore(
    home: HomeFolder,
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="What backup wrote.")] = None,
    accept_store: Annotated[
        bool, typer.Option("--accept-store", help="No file: go on with the old store that lies there.")
    ] = False,
    lost_key: Annotated[
        bool, typer.Option("--lost-key", help="The key that signed the backup is lost or was changed since.")
    ] = False,
    forget_newer: Annotated[
        bool, typer.Option("--forget-newer", help="Although the store that is here is good and newer.")
    ] = False,
    user: Annotated[str | None, typer.Option(help="Owner of a new home; root must name one.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup back; stop the custodian first.

    Studies begun before are answered no more, all key epochs end, and every later study waits for you.
    Charges made after the backup are not in the ledger: reckon with them before you approve anything.
    """
    from fedmed.errors import ConfigError
    from fedmed_nodes import restore as desk
    from fedmed_nodes.backup_desk import home_to_restore

    if (file is None) != accept_store:
        raise ConfigError("name a backup FILE, or give --accept-store for the store that lies there")
    if accept_store and (lost_key or forget_newer):
        raise ConfigError("--lost-key and --forget-newer go with a backup FILE, not with --accept-store")
    place = home_to_restore(home, user=user)
    _ask(f"restore {place.path}? Studies begun before will not go on here", yes=yes)
    if file is None:
        done = desk.accept_store(place)
    else:
        done = desk.restore_backup(place, file, lost_key=lost_key, forget_newer=forget_newer)
    told: dict[str, Any] = {  # Any: JSON values
        "restored": done.words,
        "from_entry": done.from_entry,
        "known_entry": done.known_entry,
        "charges": done.charges,
        "put_aside": None if done.put_aside is None else str(done.put_aside),
    }
    typer.echo(json.dumps(told) if as_json else f"restored {done.words}")
    if done.put_aside is not None:
        _say(f"what was there before lies in {done.put_aside}: keep it for whoever looks into the loss")
    if done.new_card is not None:
        _say(f"this node has another key now: fedmed node key show {place.path}\n{_NEXT_ROSTER}")


def _print_cards(cards: dict[str, PublicIdentity], *, as_json: bool) -> None:
    """Cards as TOML, one below the other, or as one JSON document."""
    from fedmed.crypto.card import card_document, card_text

    if as_json:
        typer.echo(json.dumps({n: card_document(c) for n, c in cards.items()}, ensure_ascii=False))
        return
    texts = [card_text(card).replace("[card]", f"[{name}]") for name, card in cards.items()]
    typer.echo("\n".join(texts), nl=False)


def _ask(question: str, *, yes: bool) -> None:
    """Go on only after a yes; without a terminal the answer is no."""
    if not yes:
        typer.confirm(question, abort=True, err=True)


def _text(path: Path) -> str:
    """A small text file."""
    return _bytes(path).decode(errors="replace")


def _bytes(path: Path) -> bytes:
    """A small file; raises `ConfigError`."""
    from fedmed.errors import ConfigError

    try:
        with path.open("rb") as file:
            return file.read(1 << 20)
    except OSError as fault:
        raise ConfigError(f"cannot read {path}: {fault.strerror}; name another file") from None


def _say(text: str) -> None:
    """Write for people, on stderr."""
    typer.echo(text, err=True)
