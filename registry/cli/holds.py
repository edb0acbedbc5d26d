"""``stagegate holds``: what keeps a model's versions out of a stage."""

from datetime import datetime

import click

from registry.cli.client_command import Connection, client_command, example
from registry.cli.history import instant
from registry.cli.output import Column

_COLUMNS = (
    Column("STAGE", "stage"),
    Column("BY", "by"),
    Column("SINCE", "at"),
    Column("UNTIL", "until"),
    Column("ROLLED BACK", "version"),
    Column("REASON", "reason"),
)


@click.group()
def holds() -> None:
    """Hold stages of a model, and lift such holds."""


@holds.command("list", epilog=example("stagegate holds list fraud"))
@click.argument("model")
@client_command
def list_(to: Connection, model: str) -> None:
    """List what holds a model's stages."""
    to.output.listing(to.client.holds.list(model), _COLUMNS)


@holds.command(
    "set",
    epilog=example(
        "stagegate holds set fraud Production --reason audit --until 2026-12-01"
    ),
)
@click.argument("model")
@click.argument("stage")
@click.option("--reason", required=True, help="Why; every refusal says so.")
@click.option(
    "--until",
    type=instant,
    metavar="TIME",
    help="When it ends by itself.  [default: when it is lifted]",
)
@client_command
def set_(
    to: Connection, model: str, stage: str, *, reason: str, until: datetime | None
) -> None:
    """Keep every version of a model out of a stage."""
    hold = to.client.holds.set(model, stage, reason=reason, until=until)
    ends = f" until {hold.raw.get('until')}" if hold.until else ""
    to.output.done(hold.raw, f"{hold.stage} of {model} is held{ends}.")


@holds.command(epilog=example("stagegate holds lift fraud Production"))
@click.argument("model")
@click.argument("stage")
@click.option("--reason", default="", help="Why; kept in the audit log.")
@client_command
def lift(to: Connection, model: str, stage: str, *, reason: str) -> None:
    """Let versions into a stage again; a person does that, not a CI job."""
    to.client.holds.lift(model, stage, reason=reason)
    to.output.done({"lifted": stage}, f"{stage} of {model} is not held any more.")
