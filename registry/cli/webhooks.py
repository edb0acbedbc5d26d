"""``stagegate webhooks``: subscriptions and their deliveries."""

from itertools import islice
from typing import Any

import click

from registry.cli.client_command import (
    Connection,
    client_command,
    example,
    require_confirmation,
)
from registry.cli.exit_codes import ExitCode
from registry.cli.output import Column, text_of
from registry.cli.webhook_listen import listen
from registry.cli.webhook_options import members_of, subscription_options
from registry.cli.webhook_redelivery import redeliver
from webhooks.roster.specs import FACTS, SHOWN

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
    *("id", "state"),
    *(
        FACTS[field].name
        for field in SHOWN
        if "contentMediaType" not in FACTS[field].rule
    ),
    *("credential_names", "public_keys", "state_reason", "consecutive_failures"),
    *("failing_since", "held_back_until", "created_at", "created_by", "updated_at"),
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
_ATTEMPT_COLUMNS = (
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
_SHOWN_DELIVERIES = 50


#: The line with the backspace keeps click from filling the lines below it.
_CREATE_HELP = """Subscribe an endpoint and show its secret, this once.

\b
ENDPOINT is the receiver's own URL; a secret in it is written ${NAME}:
  standard, cloudevents   any; with --option hub_signature='${NAME}'
                          signed as GitHub does, too
  github      https://api.github.com/repos/OWNER/REPO/dispatches, or
              …/actions/workflows/FILE/dispatches with
              --option dispatch=workflow --option ref=main;
              --credential token
  gitlab      https://HOST/api/v4/projects/ID/trigger/pipeline with
              --option ref=main; --credential token
  jenkins     https://HOST/generic-webhook-trigger/invoke, or
              https://HOST/job/NAME/buildWithParameters with
              --option trigger=build --option user=NAME;
              --credential token
  slack, teams    the URL of the incoming webhook
"""


@click.group()
def webhooks() -> None:
    """Manage webhook subscriptions and their deliveries."""


webhooks.add_command(listen)
webhooks.add_command(redeliver)


@webhooks.command(
    help=_CREATE_HELP,
    epilog=example(
        "stagegate webhooks create https://ci.example.com/hook --to-stage Production"
    ),
)
@click.argument("endpoint")
@subscription_options
@client_command
def create(to: Connection, endpoint: str, **options: Any) -> None:  # noqa: ANN401  one for each option
    """Subscribe an endpoint and show its secret, this once."""
    subscription = to.client.webhooks.create(endpoint, **members_of(options))
    to.output.done(
        subscription.raw,
        "\n".join(
            [
                f"Created webhook {subscription.id}.",
                f"Secret (shown only now): {subscription.secret}",
                *(f"Public key: {key}" for key in subscription.public_keys),
            ]
        ),
    )


@webhooks.command("list", epilog=example("stagegate webhooks list"))
@client_command
def list_webhooks(to: Connection) -> None:
    """List the subscriptions."""
    to.output.listing(to.client.webhooks.list(), _COLUMNS)


@webhooks.command(epilog=example("stagegate webhooks show ID"))
@click.argument("webhook_id", metavar="ID")
@client_command
def show(to: Connection, webhook_id: str) -> None:
    """Show one subscription."""
    to.output.details(to.client.webhooks.get(webhook_id).raw, _MEMBERS)


@webhooks.command(epilog=example("stagegate webhooks update ID --state paused"))
@click.argument("webhook_id", metavar="ID")
@click.option("--endpoint", "endpoint", metavar="URL", help="The new endpoint.")
@click.option(
    "--state",
    type=click.Choice(["active", "paused"]),
    help="Paused keeps deliveries until it is active again.",
)
@subscription_options
@client_command
def update(
    to: Connection,
    webhook_id: str,
    endpoint: str | None,
    **options: Any,  # noqa: ANN401  one for each option
) -> None:
    """Change a subscription."""
    changes = members_of(options)
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
    """Send a ping now and show what the endpoint answered.

    It is sent as an event is: a pipeline that it starts is really started.
    """
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
    newest = to.client.webhooks.deliveries(webhook_id, state=state)
    to.output.listing(islice(newest, limit), _DELIVERY_COLUMNS)


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


@webhooks.command(epilog=example("stagegate webhooks attempts DELIVERY_ID -o json"))
@click.argument("delivery_id")
@client_command
def attempts(to: Connection, delivery_id: str) -> None:
    """Show each attempt of a delivery; the answers are in the JSON."""
    to.output.listing(to.client.deliveries.attempts(delivery_id), _ATTEMPT_COLUMNS)
