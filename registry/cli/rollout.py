"""What becomes of a stage change, shown on stderr while it is waited for.

A terminal gets a table that changes in place; a log gets a line for each change.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from registry.cli.output import printable
from registry.cli.streams import is_terminal, say_aside
from registry.client import DeliveryRecord, DeploymentRecord, Rollout
from registry.client.rollout import OnLook

_STYLES = {
    "delivered": "green",
    "succeeded": "green",
    "failed": "red",
    "blocked": "red",
    "dead": "red",
    "superseded": "red",
}


@contextmanager
def rollout_display() -> Iterator[OnLook]:
    """Show what is found for as long as the block runs; call what is given."""
    if not is_terminal(sys.stderr):
        yield _line_report()
        return
    with Live(console=Console(stderr=True)) as live:
        yield lambda rollout: live.update(_table(rollout), refresh=True)


def _line_report() -> OnLook:
    told: dict[str, str] = {}

    def report(rollout: Rollout) -> None:
        for key, what, state, note in _rows(rollout):
            line = f"{what}: {state}{f' ({note})' if note else ''}"
            if told.get(key) != line:
                told[key] = line
                say_aside(printable(line))

    return report


def _table(rollout: Rollout) -> Table:
    table = Table.grid(padding=(0, 2))
    for _, what, state, note in _rows(rollout):
        table.add_row(
            Text(printable(what)),
            Text(printable(state), style=_STYLES.get(state, "yellow")),
            Text(printable(note), overflow="fold"),
        )
    return table


def _rows(rollout: Rollout) -> Iterable[tuple[str, str, str, str]]:
    """Key, what it is, how it stands, and what else is known."""
    for delivery in rollout.deliveries:
        what = f"Delivery to webhook {delivery.webhook_id or '?'}"
        yield delivery.id, what, delivery.state, _about_delivery(delivery)
    for deployment in rollout.deployments:
        yield (
            deployment.id,
            f"Deployment to {deployment.environment}",
            deployment.status,
            _about(deployment),
        )


def _about_delivery(delivery: DeliveryRecord) -> str:
    if delivery.is_acknowledged:
        return str(delivery.raw.get("receipt") or "")
    attempts = f"attempt {delivery.attempts}" if delivery.attempts else ""
    return ", ".join(part for part in (attempts, delivery.reason) if part)


def _about(deployment: DeploymentRecord) -> str:
    facts = (deployment.description, deployment.url)
    return ", ".join(fact for fact in facts if fact)
