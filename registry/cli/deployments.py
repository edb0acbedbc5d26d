"""``stagegate deployments``: what became of a version, as its consumers report it.

In a job that a webhook started, ``STAGEGATE_TOKEN`` may be the token that the
delivery carried: it reports on that version and does nothing else.
"""

from itertools import islice

import click

from registry.cli.client_command import Connection, client_command, example
from registry.cli.output import Column
from registry.client.types import JsonObject

_STATUSES = ("pending", "in_progress", "succeeded", "failed")
_COLUMNS = (
    Column("ENVIRONMENT", "environment"),
    Column("STATUS", "status"),
    Column("UPDATED", "updated_at"),
    Column("BY", "reported_by"),
    Column("URL", "url"),
    Column("TRANSITION", "transition_id"),
)


@click.group()
def deployments() -> None:
    """Report and list deployments of versions."""


@deployments.command(
    epilog=example(
        "stagegate deployments report fraud 7 --environment eu --status succeeded",
    )
)
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--status", required=True, type=click.Choice(_STATUSES))
@click.option("--environment", required=True, metavar="NAME", help="Where it went.")
@click.option("--details-url", metavar="URL", help="Where more is to be read.")
@click.option("--description", help="What there is to say.")
@click.option(
    "--webhook-id",
    metavar="ID",
    help="The webhook-id that the delivery came with."
    "  [default: known by the delivery's token; else of the version's last change]",
)
@client_command
def report(
    to: Connection,
    model: str,
    version: int,
    *,
    status: str,
    environment: str,
    details_url: str | None,
    description: str | None,
    webhook_id: str | None,
) -> None:
    """Say what became of a version in an environment."""
    members = {
        "url": details_url,
        "description": description,
        "webhook_id": webhook_id,
    }
    deployment = to.client.deployments.report(
        model,
        version,
        status,
        environment=environment,
        **{name: value for name, value in members.items() if value is not None},
    )
    to.output.done(
        deployment.raw,
        f"{model} version {version} is {deployment.status} in {deployment.environment}."
        f"{_rolled_back(deployment.automatic_rollback or {})}",
    )


def _rolled_back(rollback: JsonObject) -> str:
    if rollback.get("refused"):
        return f" Nothing was rolled back: {rollback['refused']}."
    if rollback.get("to_version"):
        return f" Rolled back to version {rollback['to_version']}."
    return ""


@deployments.command("list", epilog=example("stagegate deployments list fraud 7"))
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.option("--limit", type=click.IntRange(min=1), help="Show at most this many.")
@client_command
def list_(to: Connection, model: str, version: int, *, limit: int | None) -> None:
    """List the deployments of a version, newest first."""
    deployments = to.client.deployments.list(model, version)
    to.output.listing(islice(deployments, limit), _COLUMNS)
