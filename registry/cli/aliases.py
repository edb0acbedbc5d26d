"""``stagegate alias``: names that point at versions."""

import click

from registry.cli.approvals import tell_asked
from registry.cli.client_command import Connection, client_command, example
from registry.client import TransitionRequest


@click.group()
def alias() -> None:
    """Set and delete aliases of versions."""


@alias.command("set", epilog=example("stagegate alias set fraud champion 7"))
@click.argument("model")
@click.argument("name")
@click.argument("version", type=click.IntRange(min=1))
@client_command
def set_alias(to: Connection, model: str, name: str, version: int) -> None:
    """Point an alias at a version; one that is bound to a stage is the move there."""
    document = to.client.set_alias(model, name, version)
    if "request" in document:
        tell_asked(to, TransitionRequest.from_json(document["request"]))
        return
    to.output.done(document, f"{model}@{name} is now version {version}.")


@alias.command(epilog=example("stagegate alias delete fraud champion"))
@click.argument("model")
@click.argument("name")
@client_command
def delete(to: Connection, model: str, name: str) -> None:
    """Delete an alias; the version stays."""
    to.client.delete_alias(model, name)
    to.output.done({"deleted": name}, f"Deleted alias {name} of {model}.")
