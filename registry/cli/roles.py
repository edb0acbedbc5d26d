"""``stagegate roles``: which people and groups may do what."""

import click

from registry.cli.client_command import (
    Connection,
    client_command,
    example,
    require_confirmation,
)
from registry.cli.output import Column
from registry.cli.tokens import ROLES, models_option

_COLUMNS = (
    Column("ID", "id"),
    Column("KIND", "subject_kind"),
    Column("SUBJECT", "subject"),
    Column("ROLE", "role"),
    Column("MODELS", "models"),
    Column("SINCE", "created_at"),
    Column("BY", "created_by"),
)


@click.group()
def roles() -> None:
    """Give people and groups roles, list them, take them away."""


@roles.command(
    epilog=example(
        "stagegate roles grant promoter --group ml-leads --models 'fraud-*'",
        "stagegate roles grant admin --user 'https://idp.example.com#7f3a'",
    )
)
@click.argument("role", type=click.Choice(ROLES))
@click.option("--user", metavar="ISSUER#SUBJECT", help="A person.")
@click.option("--group", metavar="NAME", help="A group, as the provider calls it.")
@models_option
@client_command
def grant(
    to: Connection, role: str, *, user: str | None, group: str | None, models: str
) -> None:
    """Give a person or a group a role."""
    if (user is None) == (group is None):
        raise click.UsageError("Say who: either --user or --group.")
    binding = to.client.roles.grant(role, user=user, group=group, models=models)
    to.output.done(
        binding.raw, f"Granted {binding.role} to {binding.subject} ({binding.id})."
    )


@roles.command("list", epilog=example("stagegate roles list"))
@client_command
def list_roles(to: Connection) -> None:
    """List who has which role."""
    to.output.listing(to.client.roles.list(), _COLUMNS)


@roles.command(epilog=example("stagegate roles revoke ID --yes"))
@click.argument("binding_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@client_command
def revoke(to: Connection, binding_id: str, *, yes: bool) -> None:
    """Take a role away; it ends at once."""
    require_confirmation(f"Revoke role binding {binding_id}?", is_confirmed=yes)
    to.client.roles.revoke(binding_id)
    to.output.done({"revoked": binding_id}, f"Revoked role binding {binding_id}.")
