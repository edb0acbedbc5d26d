"""``stagegate history``: what happened to a model, and who held a stage when."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice

import click

from registry.cli.client_command import Connection, client_command, example
from registry.cli.output import Column
from registry.cli.versions import VERSION_MEMBERS
from registry.client import HistoryEntry

_DEFAULT_STAGE = "Production"
_COLUMNS = (
    Column("REQUESTED", "at"),
    Column("VERSION", "version"),
    Column("FROM", "from_stage"),
    Column("TO", "to_stage"),
    Column("CAUSE", "cause"),
    Column("BY", "actor.name"),
    Column("REASON", "reason"),
    Column("REQUEST", "request_id"),
    Column("DELIVERED", "delivered"),
    Column("DEPLOYED", "deployed"),
)


def instant(value: str) -> datetime:
    """Read a date, or a date and time; UTC unless it has an offset.

    Raises:
        click.BadParameter: for anything else.
    """
    try:
        moment = datetime.fromisoformat(value)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise click.BadParameter(
            f"{value!r} is not a time such as 2026-11-20T12:00:00Z"
        ) from error


def _with_columns(entry: HistoryEntry) -> HistoryEntry:
    """Return the entry with what the table shows of its deliveries and deployments."""
    columns = {
        "cause": ", ".join([entry.cause, *_remarks(entry)]),
        "delivered": _delivered(entry),
        "deployed": _deployed(entry),
    }
    return replace(entry, raw={**entry.raw, **columns})


def _remarks(entry: HistoryEntry) -> list[str]:
    told = {
        "unverified": entry.verified is False,
        "broke the glass": entry.broke_glass,
        "held since": entry.held,
    }
    return [remark for remark, is_so in told.items() if is_so]


def _delivered(entry: HistoryEntry) -> str:
    requested = entry.deliveries.get("requested", 0)
    if not requested:
        return ""
    at = entry.deliveries.get("delivered_at")
    return str(at or f"{entry.deliveries.get('delivered', 0)} of {requested}")


def _deployed(entry: HistoryEntry) -> str:
    return ", ".join(
        f"{deployment.get('environment')}: {deployment.get('status')}"
        for deployment in entry.deployments
    )


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
    """Show what became of a model's stage changes, or who held a stage when."""
    if at is None:
        entries = islice(to.client.history(model, stage=stage), limit)
        shown = entries if to.output.is_json else map(_with_columns, entries)
        to.output.listing(shown, _COLUMNS)
        return
    holder = to.client.stage_holder(model, stage or _DEFAULT_STAGE, at=at)
    to.output.details(holder.raw, VERSION_MEMBERS)
