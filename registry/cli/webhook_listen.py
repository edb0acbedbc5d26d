"""``stagegate webhooks listen``: events as they happen, with no port open here."""

import sys
from collections.abc import Mapping
from datetime import datetime
from itertools import islice
from typing import Any

import click

from registry.cli.client_command import Connection, client_command, example
from registry.cli.events import line_of
from registry.cli.history import instant
from registry.cli.streams import json_text, say


@click.command(
    epilog=example(
        "stagegate webhooks listen --forward http://127.0.0.1:3000/hook",
        "stagegate webhooks listen --event model_version.stage_changed -o json",
    )
)
@click.option(
    "--forward",
    metavar="URL",
    help="Post each event there, with the body and the signature of a webhook in the"
    " standard format; once, whatever is answered.",
)
@click.option(
    "--secret",
    envvar="WEBHOOK_SECRET",
    show_envvar=True,
    metavar="SECRET",
    help="What to sign with.  [default: a new one, shown at the start]",
)
@click.option(
    "--event",
    "event_types",
    multiple=True,
    metavar="TYPE",
    help="Only this type, or 'prefix.*'; repeatable.  [default: what '*' means to a"
    " webhook]",
)
@click.option("--model", help="Only events of this model.")
@click.option("--after", metavar="CURSOR", help="Begin behind this cursor.")
@click.option(
    "--since", type=instant, metavar="TIME", help="Begin then.  [default: now]"
)
@click.option("--limit", type=click.IntRange(min=1), help="End after this many.")
@client_command
def listen(
    to: Connection,
    *,
    forward: str | None,
    secret: str | None,
    event_types: tuple[str, ...],
    model: str | None,
    after: str | None,
    since: datetime | None,
    limit: int | None,
) -> None:
    """Show events as they happen, and forward them to a receiver on this machine.

    No webhook is needed, and no way in from outside: the events are fetched. A
    receiver is sent what a webhook would send it, but for what belongs to a delivery:
    repetitions, tokens that report back, and the hops before.
    """
    # With the sender come libraries that no other command of webhooks needs.
    from registry.cli.webhook_forwarding import Forwarder, is_wanted  # noqa: PLC0415

    forwarder = None if forward is None else Forwarder(forward, secret)
    if after is None and since is None:
        after = to.client.events.latest_cursor()
    if forwarder is not None:
        to.output.note(f"Secret to verify with: {forwarder.secret}")
    to.output.note("Listening; Ctrl-C ends it.")
    events = to.client.events.follow(after=after, model=model)
    wanted = (event for event in events if is_wanted(event, event_types, since))
    for event in islice(wanted, limit):
        if not to.output.is_json:
            to.output.sentence(event.raw, line_of(event))
        sent = None if forwarder is None else forwarder.send(event)
        if to.output.is_json:
            document = event.raw if sent is None else {**event.raw, "forward": sent}
            say(json_text(document, sys.stdout))
        elif sent is not None:
            to.output.sentence(sent, f"  -> {_outcome(sent)}")


def _outcome(sent: Mapping[str, Any]) -> str:
    if sent["error"] is None:
        return f"{sent['status']} in {sent['duration_ms']} ms"
    return f"failed in {sent['duration_ms']} ms: {sent['error']}"
