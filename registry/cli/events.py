"""``stagegate events``: what happened, in its order, from any point on."""

from itertools import islice
from typing import Any

import click

from registry.cli.client_command import Connection, client_command, example
from registry.cli.output import Column, member_of, text_of
from registry.client import EventRecord

_COLUMNS = (
    Column("AT", "timestamp"),
    Column("TYPE", "type"),
    Column("MODEL", "data.model"),
    Column("VERSION", "data.version"),
    Column("STAGE", "data.to_stage"),
    Column("CURSOR", "cursor"),
)


@click.command(
    epilog=example(
        "stagegate events --type model_version.stage_changed --model fraud",
        "stagegate events --after CURSOR --follow -o json",
    )
)
@click.option("--after", metavar="CURSOR", help="Only events behind this cursor.")
@click.option(
    "--type", "event_type", metavar="TYPE", help="Only this type, or 'prefix.*'."
)
@click.option("--model", help="Only events of this model.")
@click.option("--limit", type=click.IntRange(min=1), help="Show at most this many.")
@click.option("--follow", is_flag=True, help="Go on: show each event when it happens.")
@client_command
def events(
    to: Connection,
    after: str | None,
    *,
    limit: int | None,
    follow: bool,
    **chosen: Any,  # noqa: ANN401  # the filters of the feed
) -> None:
    """Show what happened, in its order, from any point on."""
    if not follow:
        records = to.client.events(after=after, **chosen)
        to.output.listing(islice(records, limit), _COLUMNS)
        return
    for event in islice(to.client.events.follow(after=after, **chosen), limit):
        to.output.sentence(event.raw, line_of(event))


def line_of(event: EventRecord) -> str:
    """Return an event in one line."""
    return "  ".join(
        text_of(member_of(event.raw, column.member)) for column in _COLUMNS
    )
