"""``fedmed node approve, revoke, budget, operator-key``: what a province's operators decide.

`fedmed_nodes.cli` takes these commands in; each loads what it needs when it runs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

if TYPE_CHECKING:
    import click

    from fedmed.crypto.identity import Identity
    from fedmed.governance.operators import OperatorAct
    from fedmed.types import ActPlace
    from fedmed_nodes.custodian_client import SocketCustodian


class _ShownUnlessNamed(TyperGroup):
    """A group whose first word may be a home: then it is shown. A home called ``raise`` is ``./raise``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``show`` before anything that is no command of the group."""
        named = bool(args) and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if named or not args else ["show", *args])


DECLINED = 9
"""Exit code of a command whose question was answered with no."""

app = typer.Typer()
budget_app = typer.Typer(cls=_ShownUnlessNamed, help="Show what is spent, reserved and left; raise it.")
app.add_typer(budget_app, name="budget", no_args_is_help=True)

Place = Annotated[Path, typer.Argument(metavar="HOME", help="The node's home, or its custodian's socket.")]
Digest = Annotated[str, typer.Argument(metavar="DIGEST", help="The study's digest, in full.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key", help="Your key file, where the policy lists operators.")
]
Reason = Annotated[str, typer.Option(help="Why, for the record.")]
AllowDifference = Annotated[
    bool, typer.Option("--allow-difference", help="Although it is near to a study answered before.")
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout; logs go to stderr.")]


@app.command(epilog="Example: fedmed node approve /var/lib/fedmed 4c9c...b4 --key li.wei.key")
def approve(
    home: Place,
    study: Digest,
    key: KeyFile = None,
    reason: Reason = "",
    allow_difference: AllowDifference = False,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Show what a study computes, releases and costs, ask, and approve it."""
    from fedmed.errors import SignatureNeeded
    from fedmed_nodes.approval_text import approval_document, approval_lines
    from fedmed_nodes.asking import custodian_at

    digest, custodian = _digest(study), custodian_at(home)
    review = custodian.review(digest)
    signer = _signer(review.place, key)
    document = approval_document(review, digest)
    typer.echo(approval_lines(document), err=as_json)
    if allow_difference and signer is None:
        raise SignatureNeeded("an exception is signed: list operators in the policy, and give --key")
    _ask("批准本研究？ Approve this study?", yes=yes, no="not approved: the study goes on waiting")
    act = "approve_difference" if allow_difference else "approve"
    outcome = _decide(custodian, act, digest, signer=signer, reason=reason)
    words = (
        "approved; begins when the coordinator launches it again" if outcome["done"] else _waiting(outcome)
    )
    typer.echo(json.dumps({**document, **outcome}, ensure_ascii=False) if as_json else words)


@app.command(epilog="Example: fedmed node revoke /var/lib/fedmed 4c9c...b4 --reason 'agreement ended'")
def revoke(
    home: Place,
    study: Digest,
    key: KeyFile = None,
    reason: Reason = "",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Withdraw a study for good: it is answered no more; what it spent stays spent."""
    from fedmed_nodes.asking import custodian_at

    digest, custodian = _digest(study), custodian_at(home)
    signer = _signer(custodian.review(digest).place, key)
    _ask("撤销后不可恢复。 There is no way back. Withdraw this study?", yes=yes, no="not withdrawn")
    outcome = _decide(custodian, "revoke", digest, signer=signer, reason=reason)
    words = "withdrawn: it is answered no more" if outcome["done"] else _waiting(outcome)
    typer.echo(json.dumps({"study": study, **outcome}, ensure_ascii=False) if as_json else words)


@app.command("operator-key", epilog="Example: fedmed node operator-key li.wei.key --name li.wei")
def operator_key(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The new key file; nobody else may read it.")],
    name: Annotated[str, typer.Option(help="Your name in the policy: a-z, 0-9, dot, _ and -.")],
    as_json: AsJson = False,
) -> None:
    """Make an operator's key, and print the line that the data holder writes into policy.toml."""
    from fedmed_nodes.operator_key import create_operator_key

    public = create_operator_key(file, name).hex()
    line = f"{json.dumps(name)} = {json.dumps(public)}"
    document = {"name": name, "public_key": public, "line": line}
    typer.echo(json.dumps(document, ensure_ascii=False) if as_json else line)
    typer.echo(f"made {file}; the line above belongs under [operators.keys] in policy.toml", err=True)


@budget_app.command("show", epilog="Example: fedmed node budget show /var/lib/fedmed")
def show(home: Place, as_json: AsJson = False) -> None:
    """Show what is spent, reserved and left, by year and by study, and every raise."""
    from fedmed_nodes.asking import custodian_at
    from fedmed_nodes.operator_views import budget_document, budget_lines

    view = custodian_at(home).budget()
    typer.echo(json.dumps(budget_document(view), ensure_ascii=False) if as_json else budget_lines(view))


@budget_app.command(
    "raise",
    epilog="Example: fedmed node budget raise /var/lib/fedmed --dataset person_year --year 2025 "
    "--epsilon 3 --reason 'second study agreed on 3 May' --key li.wei.key",
)
def raise_cap(
    home: Place,
    dataset: Annotated[str, typer.Option(help="The dataset, as node.toml names it.")],
    year: Annotated[int, typer.Option(help="Year that its rows describe.")],
    epsilon: Annotated[float, typer.Option(help="The year's new cap, not what is added to it.")],
    reason: Annotated[str, typer.Option(help="Why; it stays in the ledger and the log.")],
    key: KeyFile = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Raise the epsilon that one year of a dataset may spend, by signature; it can never be lowered."""
    from fedmed.errors import SignatureNeeded
    from fedmed_nodes.asking import custodian_at
    from fedmed_nodes.operator_key import raise_act, read_operator_key

    custodian = custodian_at(home)
    if key is None:
        raise SignatureNeeded("a raise needs a listed operator's signature: give --key with your key file")
    budget = custodian.budget()
    signer = read_operator_key(key)
    act = raise_act(budget, signer.name, rows=(dataset, year), cap_epsilon=epsilon, reason=reason)
    cap = next(d.cap_epsilon for d in budget.datasets if d.fingerprint == act.dataset_fingerprint)
    typer.echo(f"{dataset} {year}: cap {cap:g} -> {epsilon:g} epsilon a person", err=True)
    _ask("不可撤回。 This cannot be taken back. Raise the budget?", yes=yes, no="not raised")
    outcome = _signed(custodian, act, signer)
    words = "raised" if outcome["done"] else _waiting(outcome)
    document = {"dataset": dataset, "data_year": year, "cap_epsilon": epsilon, **outcome}
    typer.echo(json.dumps(document) if as_json else words)


def _signer(place: ActPlace, key: Path | None) -> Identity | None:
    """Who signs, None where nobody needs to; found out before the operator is asked anything."""
    from fedmed.errors import SignatureNeeded
    from fedmed_nodes.operator_key import read_operator_key

    if key is not None:
        return read_operator_key(key)
    if place.approvals_needed:
        raise SignatureNeeded("the policy of this node lists operators: give --key with your key file")
    return None


def _decide(
    custodian: SocketCustodian, kind: str, digest: bytes, *, signer: Identity | None, reason: str
) -> dict[str, Any]:
    """Approve or revoke, signed where there is a signer; `Any`: JSON values."""
    from fedmed.governance.operators import ActKind
    from fedmed_nodes.operator_key import study_act

    if signer is None:
        (custodian.approve if kind == "approve" else custodian.revoke)(digest)
        return {"done": True, "signed_by": [], "needed": 0}
    # Looked at again: somebody else may have signed while this operator was reading.
    place = custodian.review(digest).place
    return _signed(
        custodian, study_act(place, ActKind(kind), signer.name, study=digest, reason=reason), signer
    )


def _signed(custodian: SocketCustodian, act: OperatorAct, signer: Identity) -> dict[str, Any]:
    """Sign an act and hand it over; what became of it, as JSON values."""
    from fedmed.governance.operators import sign_act

    signed = sign_act(act, signer)
    outcome = custodian.act(signed.body, signed.signature)
    return {"done": outcome.is_agreed, "signed_by": list(outcome.signed_by), "needed": outcome.needed}


def _waiting(outcome: dict[str, Any]) -> str:
    """What is still missing."""
    missing = outcome["needed"] - len(outcome["signed_by"])
    return f"signed by {', '.join(outcome['signed_by'])}; {missing} more must sign"


def _ask(question: str, *, yes: bool, no: str) -> None:
    """Go on only after a yes; the question goes to stderr, stdout stays for the answer."""
    if not yes and not typer.confirm(question, err=True):
        typer.echo(f"{no}; nothing was changed", err=True)
        raise typer.Exit(DECLINED)


def _digest(text: str) -> bytes:
    """A study's digest; raises `ConfigError`."""
    from fedmed.errors import ConfigError

    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise ConfigError("DIGEST must be the 64 hexadecimal digits that fedmed node budget shows")
    return digest
