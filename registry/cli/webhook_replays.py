"""``stagegate webhooks replay`` and what goes with it: a range is sent again."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from registry.cli.client_command import Connection, client_command, example
from registry.cli.history import instant
from registry.cli.output import Column
from registry.cli.streams import is_terminal, say_aside
from registry.client import ReplayRecord
from registry.client.replays import OnLook

_COLUMNS = (
    Column("ID", "id"),
    Column("STATE", "state"),
    Column("DONE", "done"),
    Column("TOTAL", "total"),
    Column("PER SECOND", "per_second"),
    Column("CREATED", "created_at"),
    Column("BY", "created_by"),
)


@click.command(
    epilog=example(
        "stagegate webhooks replay ID --since 2026-11-20 --state dead --dry-run",
        "stagegate webhooks replay ID --since 2026-11-20 --state dead --wait 600",
    )
)
@click.argument("webhook_id", metavar="ID")
@click.option("--since", type=instant, metavar="TIME", help="Events from then on.")
@click.option(
    "--until", type=instant, metavar="TIME", help="Events up to then.  [default: now]"
)
@click.option(
    "--event",
    "event_types",
    multiple=True,
    metavar="TYPE",
    help="Only this type, or 'prefix.*'; repeatable.",
)
@click.option(
    "--model",
    "model_pattern",
    metavar="PATTERN",
    help="Only models whose name matches, such as 'fraud-*'.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(["delivered", "dead", "superseded"]),
    help="Only deliveries in this state; repeatable.  [default: all of these]",
)
@click.option(
    "--per-second",
    type=click.FloatRange(min=0.01, max=100),
    help="How many to send a second.  [default: the server's]",
)
@click.option("--dry-run", is_flag=True, help="Only say how many that would be.")
@click.option(
    "--wait",
    "wait_seconds",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    help="Wait until all are on their way, and show how far it has come.",
)
@client_command
def replay(
    to: Connection,
    webhook_id: str,
    *,
    per_second: float | None,
    dry_run: bool,
    wait_seconds: float | None,
    **options: Any,  # noqa: ANN401  # one for each part of the range
) -> None:
    """Send settled deliveries of a range again, with the same ids and bytes."""
    chosen: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value not in (None, ())
    }
    if dry_run:
        count = to.client.replays.count(webhook_id, **chosen)
        to.output.sentence({"count": count}, f"Would send {count} deliveries again.")
        return
    begun = to.client.replays.create(webhook_id, per_second=per_second, **chosen)
    if wait_seconds is not None:
        with _progress() as show:
            begun = to.client.replays.wait(
                begun, timeout_seconds=wait_seconds, on_look=show
            )
    to.output.done(begun.raw, _sentence(begun))


@click.command(epilog=example("stagegate webhooks replays ID"))
@click.argument("webhook_id", metavar="ID")
@client_command
def replays(to: Connection, webhook_id: str) -> None:
    """List the replays of a subscription, newest first."""
    to.output.many(to.client.replays.list(webhook_id), _COLUMNS)


@click.command(
    "cancel-replay", epilog=example("stagegate webhooks cancel-replay ID REPLAY_ID")
)
@click.argument("webhook_id", metavar="ID")
@click.argument("replay_id")
@client_command
def cancel_replay(to: Connection, webhook_id: str, replay_id: str) -> None:
    """Send nothing more of a replay."""
    found = to.client.replays.cancel(webhook_id, replay_id)
    to.output.done(found.raw, _sentence(found))


def _sentence(found: ReplayRecord) -> str:
    return (
        f"Replay {found.id} is {found.state}: {found.done} of {found.total}"
        " deliveries are on their way again."
    )


@contextmanager
def _progress() -> Iterator[OnLook]:
    """A bar on a terminal; in a log a line for each change."""
    if not is_terminal(sys.stderr):
        yield _line_report()
        return
    from registry.cli.drawing import count_bar  # noqa: PLC0415  # see there

    with count_bar("Replaying") as show:
        yield lambda found: show(found.done, found.total)


def _line_report() -> OnLook:
    told: set[int] = set()

    def report(found: ReplayRecord) -> None:
        if found.done not in told:
            told.add(found.done)
            say_aside(f"Replayed {found.done} of {found.total}")

    return report
