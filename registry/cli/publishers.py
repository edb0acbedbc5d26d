"""``stagegate publishers``: CI jobs that sign in without a stored secret."""

from collections.abc import Callable

import click

from registry.cli.client_command import (
    Connection,
    client_command,
    example,
    require_confirmation,
)
from registry.cli.output import Column
from registry.cli.tokens import models_option

_COLUMNS = (
    Column("ID", "id"),
    Column("NAME", "name"),
    Column("PROVIDER", "provider"),
    Column("JOBS", "claims"),
    Column("ROLE", "role"),
    Column("MODELS", "models"),
    Column("SINCE", "created_at"),
    Column("BY", "created_by"),
)
Command = Callable[..., None]


@click.group()
def publishers() -> None:
    """Trust CI jobs by what their platform signs of them."""


def _of_every_provider(function: Command) -> Command:
    role = click.option(
        "--role",
        type=click.Choice(("reader", "writer", "promoter")),
        required=True,
        help="What the jobs may do.",
    )
    return role(models_option(function))


def _issuer(usual: str) -> Callable[[Command], Command]:
    return click.option(
        "--issuer",
        metavar="URL",
        help=f"Who signs for a {usual} of your own, exactly as it calls itself.",
    )


_environment = click.option("--environment", help="Only jobs of this environment.")
_ref = click.option("--ref", help="Only jobs of this ref, as refs/heads/main.")


@publishers.command(
    epilog=example(
        "stagegate publishers add-github fraud-training --repository acme/fraud \\",
        "    --owner-id 583231 --workflow train.yml --environment registry \\",
        "    --role promoter --models 'fraud-*'",
    )
)
@click.argument("name")
@click.option("--repository", metavar="OWNER/NAME", required=True)
@click.option(
    "--owner-id",
    metavar="NUMBER",
    required=True,
    help="The owner's id, which is nobody else's later:"
    " gh api users/OWNER --jq .id shows it.",
)
@click.option("--repository-id", metavar="NUMBER", help="The repository's id, too.")
@click.option(
    "--workflow", metavar="FILE", required=True, help="Its file in .github/workflows."
)
@_environment
@_ref
@_issuer("GitHub")
@_of_every_provider
@client_command
def add_github(
    to: Connection,
    name: str,
    *,
    role: str,
    models: str,
    issuer: str | None,
    owner_id: str,
    **claims: str | None,
) -> None:
    """Trust a workflow of a GitHub repository."""
    claims = {**claims, "repository_owner_id": owner_id}
    _add(to, "github", name, claims, role=role, models=models, issuer=issuer)


@publishers.command(
    epilog=example(
        "stagegate publishers add-gitlab fraud-training --project-id 20 \\",
        "    --environment registry --role promoter --models 'fraud-*'",
    )
)
@click.argument("name")
@click.option(
    "--project-id", metavar="NUMBER", required=True, help="As its page shows it."
)
@click.option("--namespace-id", metavar="NUMBER", help="The id of its group, too.")
@click.option("--config", metavar="FILE", help="The pipeline's file, .gitlab-ci.yml.")
@_environment
@_ref
@_issuer("GitLab")
@_of_every_provider
@client_command
def add_gitlab(
    to: Connection,
    name: str,
    *,
    role: str,
    models: str,
    issuer: str | None,
    **claims: str | None,
) -> None:
    """Trust a GitLab project's jobs for protected branches and tags."""
    _add(to, "gitlab", name, claims, role=role, models=models, issuer=issuer)


@publishers.command(
    epilog=example(
        "stagegate publishers add-kubernetes training --namespace ml \\",
        "    --service-account training --issuer https://cluster.example.com \\",
        "    --role writer --models 'fraud-*'",
    )
)
@click.argument("name")
@click.option("--namespace", required=True)
@click.option("--service-account", metavar="NAME", required=True)
@click.option("--uid", help="The service account's uid, which no other has later.")
@click.option(
    "--issuer",
    metavar="URL",
    required=True,
    help="The cluster's: kubectl get --raw /.well-known/openid-configuration.",
)
@_of_every_provider
@client_command
def add_kubernetes(
    to: Connection,
    name: str,
    *,
    role: str,
    models: str,
    issuer: str,
    **claims: str | None,
) -> None:
    """Trust the pods of a Kubernetes service account."""
    _add(to, "kubernetes", name, claims, role=role, models=models, issuer=issuer)


def _add(
    to: Connection,
    provider: str,
    name: str,
    claims: dict[str, str | None],
    *,
    role: str,
    models: str,
    issuer: str | None,
) -> None:
    said = {claim: value for claim, value in claims.items() if value}
    made = to.client.publishers.add(
        provider, name, said, role, models=models, issuer=issuer
    )
    to.output.done(
        made.raw, f"Trusted {made.name} as {made.role} of {made.models} ({made.id})."
    )


@publishers.command("list", epilog=example("stagegate publishers list"))
@client_command
def list_publishers(to: Connection) -> None:
    """List whose jobs are trusted."""
    to.output.listing(to.client.publishers.list(), _COLUMNS)


@publishers.command(epilog=example("stagegate publishers remove ID --yes"))
@click.argument("publisher_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@client_command
def remove(to: Connection, publisher_id: str, *, yes: bool) -> None:
    """Trust it no more; the tokens of its jobs end at once."""
    require_confirmation(f"Remove publisher {publisher_id}?", is_confirmed=yes)
    to.client.publishers.remove(publisher_id)
    to.output.done({"removed": publisher_id}, f"Removed publisher {publisher_id}.")
