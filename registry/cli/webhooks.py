"""``stagegate webhooks``: subscriptions and their deliveries."""

from collections.abc import Callable
from itertools import islice
from typing import Any, TypeVar

import click

from registry.cli.client_command import (
    Connection,
    client_command,
    example,
    require_confirmation,
)
from registry.cli.exit_codes import ExitCode
from registry.cli.output import Column, text_of
from registry.cli.webhook_attempts import attempts

Command = TypeVar("Command", bound=Callable[..., Any])

_COLUMNS = (
    Column("ID", "id"),
    Column("STATE", "state"),
    Column("URL", "url"),
    Column("EVENTS", "event_types"),
    Column("MODELS", "model_pattern"),
    Column("STAGES", "to_stages"),
    Column("FORMAT", "format"),
)
_MEMBERS = (
    "id",
    "url",
    "state",
    "event_types",
    "model_pattern",
    "to_stages",
    "format",
    "description",
    "consecutive_failures",
    "failing_since",
    "created_at",
    "created_by",
    "updated_at",
)
_DELIVERY_COLUMNS = (
    Column("ID", "id"),
    Column("STATE", "state"),
    Column("EVENT", "event_type"),
    Column("ATTEMPTS", "attempts"),
    Column("NEXT", "next_attempt_at"),
    Column("CREATED", "created_at"),
    Column("REASON", "reason"),
)
_SHOWN_DELIVERIES = 50


def filter_options(command: Command) -> Command:
    """The options that say what a subscription listens to."""
    options = (
        click.option(
            "--event",
            "event_types",
            multiple=True,
            metavar="TYPE",
            help="An event type, such as model_version.stage_changed; repeatable."
            "  [default on create: every type]",
        ),
        click.option(
            "--model-pattern",
            metavar="PATTERN",
            help="Only models whose name matches, such as 'fraud-*'.",
        ),
        click.option(
            "--to-stage",
            "to_stages",
            multiple=True,
            metavar="STAGE",
            help="Only changes to this stage; repeatable.",
        ),
        click.option("--format", help="The format of the requests."),
        click.option("--description", help="What the receiver does."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def _given(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given, as members of the request."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in options.items()
        if value is not None and value != ()
    }


@click.group()
def webhooks() -> None:
    """Manage webhook subscriptions and their deliveries."""


webhooks.add_command(attempts)


@webhooks.command(
    epilog=example(
        "stagegate webhooks create https://ci.example.com/hook --to-stage Production"
    )
)
@click.argument("endpoint")
@filter_options
@client_command
def create(to: Connection, endpoint: str, **options: Any) -> None:  # noqa: ANN401  one for each filter option
    """Subscribe an endpoint and show its secret, this once."""
    subscription = to.client.webhooks.create(endpoint, **_given(options))
    to.output.done(
        subscription.raw,
        f"Created webhook {subscription.id}.\n"
        f"Secret (shown only now): {subscription.secret}",
    )


@webhooks.command("list", epilog=example("stagegate webhooks list"))
@client_command
def list_webhooks(to: Connection) -> None:
    """List the subscriptions."""
    to.output.many(to.client.webhooks.list(), _COLUMNS)


@webhooks.command(epilog=example("stagegate webhooks show ID"))
@click.argument("webhook_id", metavar="ID")
@client_command
def show(to: Connection, webhook_id: str) -> None:
    """Show one subscription."""
    to.output.one(to.client.webhooks.get(webhook_id).raw, _MEMBERS)


@webhooks.command(epilog=example("stagegate webhooks update ID --state paused"))
@click.argument("webhook_id", metavar="ID")
@click.option("--endpoint", "endpoint", metavar="URL", help="The new endpoint.")
@click.option(
    "--state",
    type=click.Choice(["active", "paused"]),
    help="Paused keeps deliveries until it is active again.",
)
@filter_options
@client_command
def update(
    to: Connection,
    webhook_id: str,
    endpoint: str | None,
    **options: Any,  # noqa: ANN401  one for each filter option
) -> None:
    """Change a subscription."""
    changes = _given(options)
    if endpoint is not None:
        changes["url"] = endpoint
    if not changes:
        raise click.UsageError("Give at least one option that changes something.")
    subscription = to.client.webhooks.update(webhook_id, **changes)
    to.output.done(subscription.raw, f"Changed webhook {subscription.id}.")


@webhooks.command(epilog=example("stagegate webhooks delete ID --yes"))
@click.argument("webhook_id", metavar="ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@client_command
def delete(to: Connection, webhook_id: str, *, yes: bool) -> None:
    """Delete a subscription; what is not delivered yet is not delivered."""
    require_confirmation(f"Delete webhook {webhook_id}?", is_confirmed=yes)
    to.client.webhooks.delete(webhook_id)
    to.output.done({"deleted": webhook_id}, f"Deleted webhook {webhook_id}.")


@webhooks.command(epilog=example("stagegate webhooks test ID"))
@click.argument("webhook_id", metavar="ID")
@client_command
def test(to: Connection, webhook_id: str) -> None:
    """Send a ping now and show what the endpoint answered."""
    result = to.client.webhooks.test(webhook_id)
    answer = text_of(result.get("status")), text_of(result.get("error"))
    is_delivered = bool(result.get("delivered"))
    to.output.done(
        result,
        f"{'Delivered' if is_delivered else 'Not delivered'} in"
        f" {text_of(result.get('duration_ms'))} ms: status {answer[0]},"
        f" error {answer[1]}.",
    )
    if not is_delivered:
        raise click.exceptions.Exit(ExitCode.FAILED)


@webhooks.command(epilog=example("stagegate webhooks deliveries ID --state blocked"))
@click.argument("webhook_id", metavar="ID")
@click.option("--state", help="Only deliveries in this state.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_SHOWN_DELIVERIES,
    show_default=True,
    help="Show at most this many.",
)
@client_command
def deliveries(to: Connection, webhook_id: str, state: str | None, limit: int) -> None:
    """List the deliveries of a subscription, newest first."""
    found = to.client.webhooks.deliveries(webhook_id, state=state)
    to.output.many(islice(found, limit), _DELIVERY_COLUMNS)


@webhooks.command(epilog=example("stagegate webhooks redeliver DELIVERY_ID"))
@click.argument("delivery_id")
@client_command
def redeliver(to: Connection, delivery_id: str) -> None:
    """Send a delivery again, with the same id and bytes."""
    delivery = to.client.deliveries.redeliver(delivery_id)
    to.output.done(delivery.raw, f"Delivery {delivery.id} is {delivery.state}.")


@webhooks.command(epilog=example("stagegate webhooks rotate-secret ID --overlap 86400"))
@click.argument("webhook_id", metavar="ID")
@click.option(
    "--overlap",
    "overlap_seconds",
    type=click.IntRange(min=0),
    metavar="SECONDS",
    help="How long the old secret signs as well.  [default: the server's]",
)
@client_command
def rotate_secret(to: Connection, webhook_id: str, overlap_seconds: int | None) -> None:
    """Replace a subscription's secret and show the new one, this once."""
    answer = to.client.webhooks.rotate_secret(
        webhook_id, overlap_seconds=overlap_seconds
    )
    to.output.done(answer, f"New secret (shown only now): {answer.get('secret')}")
