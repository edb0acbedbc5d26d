"""``stagegate checks``: what CI found out about a version; gates look at that."""

import click

from registry.cli.client_command import Connection, client_command, example
from registry.cli.output import Column

_STATUSES = ("pending", "passed", "failed")
_COLUMNS = (
    Column("NAME", "name"),
    Column("STATUS", "status"),
    Column("UPDATED", "updated_at"),
    Column("BY", "reported_by"),
    Column("URL", "url"),
    Column("DESCRIPTION", "description"),
)


@click.group()
def checks() -> None:
    """Report and list checks of versions."""


@checks.command(
    epilog=example(
        "stagegate checks report fraud 7 integration-tests --status passed"
        ' --details-url "$RUN_URL"'
    )
)
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@click.argument("name")
@click.option("--status", required=True, type=click.Choice(_STATUSES))
@click.option("--details-url", metavar="URL", help="Where more is to be read.")
@click.option("--description", help="What there is to say.")
@client_command
def report(
    to: Connection,
    model: str,
    version: int,
    name: str,
    *,
    status: str,
    details_url: str | None,
    description: str | None,
) -> None:
    """Say what came of a check; the last word of each name counts."""
    members = {"url": details_url, "description": description}
    check = to.client.checks.report(
        model,
        version,
        name,
        status,
        **{name: value for name, value in members.items() if value is not None},
    )
    to.output.done(
        check.raw, f"Check {check.name} of {model} version {version}: {check.status}."
    )


@checks.command("list", epilog=example("stagegate checks list fraud 7"))
@click.argument("model")
@click.argument("version", type=click.IntRange(min=1))
@client_command
def list_(to: Connection, model: str, version: int) -> None:
    """List the last result of each check of a version."""
    to.output.listing(to.client.checks.list(model, version), _COLUMNS)
