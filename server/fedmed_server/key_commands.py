"""``fedmed server roster, key, certificate``: the coordinator's keys after the first day.

`fedmed_server.cli` takes these commands in; each loads what it needs when it runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from fedmed.messages import Roster
    from fedmed_server.home import Home

app = typer.Typer()
roster = typer.Typer(help="Show the roster, or change a node in it.", no_args_is_help=True)
key = typer.Typer(help="Change the coordinator's own key.", no_args_is_help=True)
certificate = typer.Typer(help="Renew the server's certificate or its authority.", no_args_is_help=True)
app.add_typer(roster, name="roster")
app.add_typer(key, name="key")
app.add_typer(certificate, name="certificate")

HomeFolder = Annotated[Path, typer.Argument(metavar="HOME", help="The coordinator's home folder.")]
NodeName = Annotated[str, typer.Argument(metavar="NODE", help="The node's name in the roster.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]


@roster.command(epilog="Example: fedmed server roster show /var/lib/fedmed-server")
def show(home: HomeFolder, as_json: AsJson = False) -> None:
    """Show the present roster and the digest that provinces pin."""
    from fedmed_server.home import open_home

    _print_roster(open_home(home).roster(), as_json=as_json)


@roster.command(epilog="Example: fedmed server roster replace /var/lib/fedmed-server shanghai.toml")
def replace(
    home: HomeFolder,
    card: Annotated[Path, typer.Argument(metavar="CARD", help="What fedmed node key printed.")],
    as_json: AsJson = False,
) -> None:
    """Give a node its new card; stop the coordinator first. Compare the card by telephone before."""
    from fedmed.crypto.card import read_card
    from fedmed_server.files import read_text
    from fedmed_server.key_desk import replace_member

    new = replace_member(_stopped(home), read_card(read_text(card)))
    _print_roster(new, as_json=as_json)
    _say_pin(home)


@roster.command(epilog="Example: fedmed server roster remove /var/lib/fedmed-server shanghai")
def remove(home: HomeFolder, node: NodeName, as_json: AsJson = False) -> None:
    """Take a node out of the roster, for instance one whose key was stolen; stop the coordinator first."""
    from fedmed_server.key_desk import remove_member

    new = remove_member(_stopped(home), node)
    _print_roster(new, as_json=as_json)
    _say_pin(home)


@roster.command(epilog='Example: fedmed server roster owners /var/lib/fedmed-server "Shanghai NHSA"')
def owners(
    home: HomeFolder,
    name: Annotated[
        list[str] | None, typer.Argument(metavar="[OWNER]...", help="As studies name them; none: anybody.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say who may own a study, in place of those before; stop the coordinator first."""
    from fedmed_server.key_desk import set_owners

    new = set_owners(_stopped(home), tuple(name or ()))
    _print_roster(new, as_json=as_json)
    _say_pin(home)


@roster.command(epilog="Example: fedmed server roster supernode /var/lib/fedmed-server shanghai shanghai.pub")
def supernode(
    home: HomeFolder,
    node: NodeName,
    public_key: Annotated[Path, typer.Argument(metavar="FILE", help="Its SuperNode's new public key.")],
    as_json: AsJson = False,
) -> None:
    """Take another key for a node's SuperNode; stop the coordinator first. No pin changes."""
    from fedmed_server.files import read_text
    from fedmed_server.key_desk import replace_supernode_key

    replace_supernode_key(_stopped(home), node, read_text(public_key))
    typer.echo(json.dumps({"node": node}) if as_json else f"the next fedmed server up registers {node}'s key")


@key.command(epilog="Example: fedmed server key rotate /var/lib/fedmed-server")
def rotate(home: HomeFolder, as_json: AsJson = False) -> None:
    """Take a new key for the coordinator, also when the old one was lost or stolen; stop it first."""
    from fedmed_server.key_desk import rotate_coordinator_key

    new = rotate_coordinator_key(_stopped(home))
    _print_roster(new, as_json=as_json)
    _say_pin(home)


@certificate.command("show", epilog="Example: fedmed server certificate show /var/lib/fedmed-server")
def show_certificates(home: HomeFolder, as_json: AsJson = False) -> None:
    """Show when the certificates end."""
    from fedmed_server.home import open_home

    _print_certificates(open_home(home), as_json=as_json)


@certificate.command(epilog="Example: fedmed server certificate renew /var/lib/fedmed-server")
def renew(home: HomeFolder, as_json: AsJson = False) -> None:
    """Issue a new server certificate for the addresses in coordinator.toml; nodes need nothing new."""
    import datetime

    from fedmed_server.home import open_home
    from fedmed_server.key_desk import renew_server

    place = open_home(home)
    renew_server(place, now=datetime.datetime.now(tz=datetime.UTC))
    _print_certificates(place, as_json=as_json)
    typer.echo("a coordinator that runs takes it when it is started again", err=True)


@certificate.command(epilog="Example: fedmed server certificate authority /var/lib/fedmed-server")
def authority(home: HomeFolder, as_json: AsJson = False) -> None:
    """Begin a new authority; the old one is believed as well until it is retired."""
    import datetime

    from fedmed_server.home import open_home
    from fedmed_server.key_desk import begin_authority

    place = open_home(home)
    begin_authority(place, now=datetime.datetime.now(tz=datetime.UTC))
    _print_certificates(place, as_json=as_json)
    typer.echo(
        f"next: 1. hand {place.authority_certificate} to every node; 2. fedmed server certificate renew; "
        "3. fedmed server certificate retire, and hand the file out once more",
        err=True,
    )


@certificate.command(epilog="Example: fedmed server certificate retire /var/lib/fedmed-server")
def retire(home: HomeFolder, as_json: AsJson = False) -> None:
    """End the former authority, once every node has the new file."""
    from fedmed_server.home import open_home
    from fedmed_server.key_desk import retire_authority

    place = open_home(home)
    retire_authority(place)
    _print_certificates(place, as_json=as_json)


def _print_roster(found: Roster, *, as_json: bool) -> None:
    """Version, digest, and who sits where."""
    from fedmed import wire

    digest = wire.roster_digest(found).hex()
    if as_json:
        nodes = [m.name for m in found.members]
        owners = list(found.owners)
        told = {"version": found.version, "roster_digest": digest, "nodes": nodes, "owners": owners}
        typer.echo(json.dumps(told, ensure_ascii=False))
        return
    typer.echo(f"roster {found.version}: threshold {found.threshold}, colluders {found.colluders}")
    for point, member in enumerate(found.members, start=1):
        typer.echo(f"{point:>4} {member.name}  {member.signing_key.hex()[:16]}...")
    typer.echo(f"     {found.coordinator.name}  {found.coordinator.signing_key.hex()[:16]}...")
    typer.echo(f"     study owners: {', '.join(found.owners) or 'anybody'}")
    typer.echo(f"roster_digest = {digest}")


def _print_certificates(place: Home, *, as_json: bool) -> None:
    """What ends when."""
    import datetime

    from fedmed_server.key_desk import certificates

    now = datetime.datetime.now(tz=datetime.UTC)
    found = certificates(place)
    if as_json:
        lines = [{"what": c.what, "subject": c.subject, "ends": c.ends.isoformat()} for c in found]
        typer.echo(json.dumps({"certificates": lines}, ensure_ascii=False))
        return
    for c in found:
        typer.echo(f"{c.what:<16} {c.subject:<24} ends {c.ends:%Y-%m-%d}, in {c.days_left(now)} days")


def _say_pin(home: Path) -> None:
    """What comes next after a new roster."""
    typer.echo(
        f"next: hand {home / 'roster.bin'} to every node and tell each the digest by telephone; each runs "
        "fedmed node pin. Then start the coordinator; studies under the former roster do not go on",
        err=True,
    )


def _stopped(path: Path) -> Home:
    """The home, if no coordinator runs on it."""
    from fedmed.errors import ConfigError
    from fedmed_server.coordinator import is_running
    from fedmed_server.home import open_home

    place = open_home(path)
    if is_running(place):
        raise ConfigError(f"a coordinator runs on {place.path}; stop it first: fedmed server stop {path}")
    return place
