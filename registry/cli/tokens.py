"""``stagegate tokens``: API tokens."""

import click

from registry.cli.client_command import (
    Connection,
    client_command,
    example,
    require_confirmation,
)
from registry.cli.output import Column
from registry.errors import NotSignedInError

ROLES = (
    *("viewer", "auditor", "admin"),
    *("reader", "writer", "promoter", "approver", "break-glass"),
)
_COLUMNS = (
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("ROLE", "role"),
    Column("MODELS", "models"),
    Column("SCOPES", "scopes"),
    Column("CREATED", "created_at"),
    Column("EXPIRES", "expires_at"),
    Column("LAST USED", "last_used_at"),
    Column("REVOKED", "revoked_at"),
)

models_option = click.option(
    "--models",
    metavar="PATTERN",
    default="*",
    show_default=True,
    help="Which models the role is for: a name with * and ?.",
)


@click.group()
def tokens() -> None:
    """Create, list and revoke API tokens; get one for a CI job."""


@tokens.command(
    epilog=example("stagegate tokens create ci --role promoter --expires-in-days 90")
)
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What it may do.")
@models_option
@click.option(
    "--scope",
    "scopes",
    metavar="ACTION:PATTERN",
    multiple=True,
    help="Confine it to one action on some models, as promote:fraud-*; may be given"
    " several times.",
)
@click.option(
    "--expires-in-days",
    type=click.IntRange(min=1),
    help="When it ends.  [default: the server's]",
)
@client_command
def create(
    to: Connection,
    name: str,
    *,
    role: str,
    models: str,
    scopes: tuple[str, ...],
    expires_in_days: int | None,
) -> None:
    """Create a token and show it, this once."""
    token = to.client.tokens.create(
        name, role, models=models, scopes=scopes, expires_in_days=expires_in_days
    )
    to.output.done(
        token.raw,
        f"Created token {token.id} ({token.name}).\n"
        f"Token (shown only now): {token.token}",
    )


@tokens.command("list", epilog=example("stagegate tokens list"))
@client_command
def list_tokens(to: Connection) -> None:
    """List the tokens, without their text."""
    to.output.listing(to.client.tokens.list(), _COLUMNS)


@tokens.command(epilog=example("stagegate tokens revoke ID --yes"))
@click.argument("token_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@client_command
def revoke(to: Connection, token_id: str, *, yes: bool) -> None:
    """Revoke a token; it stops working at once."""
    require_confirmation(f"Revoke token {token_id}?", is_confirmed=yes)
    to.client.tokens.revoke(token_id)
    to.output.done({"revoked": token_id}, f"Revoked token {token_id}.")


@tokens.command(
    epilog=example(
        "STAGEGATE_TOKEN=$(stagegate tokens exchange)", "export STAGEGATE_TOKEN"
    )
)
@client_command
def exchange(to: Connection) -> None:
    """Show the token that this CI job is given, for the commands that follow.

    A single command gets its own. What GitLab or Kubernetes signed is good for one
    exchange, so a job of several commands starts with this.
    """
    if to.job is None:
        raise NotSignedInError(
            "There is nothing to exchange: a token is given, or this job has neither"
            " STAGEGATE_ID_TOKEN nor, in GitHub Actions, the permission id-token: write"
        )
    document = to.job.document()
    if not document:
        raise NotSignedInError("This registry exchanges no tokens of CI jobs")
    to.output.sentence(document, str(document["token"]))
    to.output.note(
        f"For {document.get('publisher')}, until {document.get('expires_at')}."
    )
