"""``stagegate models``: registered models."""

from itertools import islice

import click

from registry.cli.client_command import (
    Connection,
    client_command,
    example,
    key_values,
    require_confirmation,
)
from registry.cli.output import Column
from registry.client import HoldRecord

_COLUMNS = (
    Column("NAME", "name"),
    Column("LATEST", "latest_version"),
    Column("STAGES", "stages"),
    Column("ALIASES", "aliases"),
    Column("UPDATED", "updated_at"),
)
_MEMBERS = (
    "name",
    "description",
    "latest_version",
    "stages",
    "held",
    "aliases",
    "tags",
    "created_at",
    "created_by",
    "updated_at",
)


@click.group()
def models() -> None:
    """List, create, show and delete registered models."""


@models.command("list", epilog=example("stagegate models list -o json"))
@click.option("--limit", type=click.IntRange(min=1), help="Show at most this many.")
@click.option("--prompts", is_flag=True, help="List MLflow's prompts instead.")
@client_command
def list_models(to: Connection, limit: int | None, *, prompts: bool) -> None:
    """List the registered models."""
    to.output.listing(islice(to.client.models(prompts=prompts), limit), _COLUMNS)


@models.command(epilog=example('stagegate models create fraud --tag team="risk"'))
@click.argument("name")
@click.option("--description", default="", help="What the model is for.")
@click.option("--tag", "tags", multiple=True, metavar="K=V", help="A tag; repeatable.")
@client_command
def create(to: Connection, name: str, description: str, tags: tuple[str, ...]) -> None:
    """Create a model without versions."""
    model = to.client.create_model(
        name, description=description, tags=key_values(tags, "--tag")
    )
    to.output.done(model.raw, f"Created model {model.name}.")


@models.command(epilog=example("stagegate models show fraud"))
@click.argument("name")
@client_command
def show(to: Connection, name: str) -> None:
    """Show one model."""
    model = to.client.get_model(name)
    held = {} if to.output.is_json else {"held": [_held(hold) for hold in model.holds]}
    to.output.details({**model.raw, **held}, _MEMBERS)


def _held(hold: HoldRecord) -> str:
    what = f"{hold.stage} by {hold.by}"
    until = f" until {hold.raw.get('until')}" if hold.until else ""
    return f"{what}{until}" + (f" ({hold.reason})" if hold.reason else "")


@models.command(epilog=example("stagegate models delete fraud --yes"))
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask.")
@client_command
def delete(to: Connection, name: str, *, yes: bool) -> None:
    """Delete a model with all its versions."""
    require_confirmation(f"Delete model {name} and all its versions?", is_confirmed=yes)
    to.client.delete_model(name)
    to.output.done({"deleted": name}, f"Deleted model {name}.")
