"""``stagegate webhooks attempts``: what a receiver answered, try by try."""

import click

from registry.cli.client_command import Connection, client_command, example
from registry.cli.output import Column

_COLUMNS = (
    Column("NUMBER", "number"),
    Column("OUTCOME", "outcome"),
    Column("STATUS", "status"),
    Column("ERROR", "error"),
    Column("STARTED", "started_at"),
    Column("SECONDS", "duration_seconds"),
    Column("ADDRESS", "address"),
    Column("NAME", "timings.name"),
    Column("CONNECT", "timings.connect"),
    Column("TLS", "timings.tls"),
    Column("FIRST BYTE", "timings.first_byte"),
)


@click.command(epilog=example("stagegate webhooks attempts DELIVERY_ID -o json"))
@click.argument("delivery_id")
@client_command
def attempts(to: Connection, delivery_id: str) -> None:
    """Show each attempt of a delivery; the answers are in the JSON."""
    to.output.many(to.client.deliveries.attempts(delivery_id), _COLUMNS)
