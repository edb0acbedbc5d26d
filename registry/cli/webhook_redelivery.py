"""``stagegate webhooks redeliver``: a delivery again, or all that a filter chooses."""

from typing import Any

import click

from registry.cli.client_command import Connection, client_command, example
from registry.cli.history import instant


@click.command(
    epilog=example(
        "stagegate webhooks redeliver DELIVERY_ID",
        "stagegate webhooks redeliver ID --since 2026-11-20 --state dead --dry-run",
        "stagegate webhooks redeliver ID --since 2026-11-20 --state dead",
    )
)
@click.argument("which", metavar="ID")
@click.option("--since", type=instant, metavar="TIME", help="Events from then on.")
@click.option("--until", type=instant, metavar="TIME", help="Events up to then.")
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
    type=click.Choice(["delivered", "dead", "superseded", "blocked"]),
    help="Only deliveries in this state; repeatable.  [default: all but blocked]",
)
@click.option(
    "--again-before",
    type=instant,
    metavar="TIME",
    help="Also what was sent again already, before then.",
)
@click.option("--dry-run", is_flag=True, help="Only say how many that would be.")
@client_command
def redeliver(
    to: Connection,
    which: str,
    *,
    dry_run: bool,
    **options: Any,  # noqa: ANN401  # one for each part of the filter
) -> None:
    """Send again, with the same ids and bytes.

    ID is a delivery's. With any option it is a subscription's, and its deliveries
    that the options choose are sent again at the endpoint's rate. What was sent again
    and arrived, or is on its way, is left out: after a crash, run the same command
    again.
    """
    chosen: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value not in (None, ())
    }
    if dry_run:
        count = to.client.webhooks.count_redelivery(which, **chosen)
        to.output.sentence({"count": count}, f"Would send {count} deliveries again.")
    elif chosen:
        count = to.client.webhooks.redeliver(which, **chosen)
        to.output.done({"count": count}, f"On their way again: {count}.")
    else:
        delivery = to.client.deliveries.redeliver(which)
        to.output.done(delivery.raw, f"Delivery {delivery.id} is {delivery.state}.")
