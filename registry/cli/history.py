"""``stagegate history``: what happened to a model, and who held a stage when."""

from datetime import UTC, datetime
from itertools import islice

import click

from registry.cli.client_command import Connection, client_command, example
from registry.cli.output import Column
from registry.cli.versions import VERSION_MEMBERS

_DEFAULT_STAGE = "Production"
_COLUMNS = (
    Column("AT", "at"),
    Column("VERSION", "version"),
    Column("FROM", "from_stage"),
    Column("TO", "to_stage"),
    Column("CAUSE", "cause"),
    Column("BY", "actor.name"),
    Column("REASON", "reason"),
)


def instant(value: str) -> datetime:
    """Read a date, or a date and time; UTC unless it has an offset.

    Raises:
        click.BadParameter: for anything else.
    """
    try:
        found = datetime.fromisoformat(value)
        if found.tzinfo is None:
            found = found.replace(tzinfo=UTC)
        return found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{value!r} is not a time such as 2026-11-20T12:00:00Z"
        ) from error


@click.command(
    epilog=example(
        "stagegate history fraud",
        "stagegate history fraud --at 2026-11-20T12:00:00Z",
    )
)
@click.argument("model")
@click.option("--stage", help="Only changes from or to this stage.")
@click.option(
    "--at",
    type=instant,
    metavar="TIME",
    help="Show the version that held the stage (Production unless --stage says"
    " otherwise) at this time.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Show at most this many.")
@client_command
def history(
    to: Connection,
    model: str,
    stage: str | None,
    at: datetime | None,
    *,
    limit: int | None,
) -> None:
    """Show a model's stage changes, or who held a stage at a time."""
    if at is None:
        to.output.many(islice(to.client.history(model, stage=stage), limit), _COLUMNS)
        return
    holder = to.client.stage_holder(model, stage or _DEFAULT_STAGE, at=at)
    to.output.one(holder.raw, VERSION_MEMBERS)
