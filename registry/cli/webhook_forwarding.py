"""What ``stagegate webhooks listen`` sends: what a webhook's delivery would be.

The sender is the one of deliveries, its deadline included. Whoever forwards does so
from a machine of his own, to where he likes: no network is closed to him but those that
are never open (``webhooks.sending.guard``).
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import click

from registry.client import EventRecord
from registry.domain.events import OPT_IN
from webhooks.errors import RenderError
from webhooks.events import HOP_HEADER, Event, is_asked_for
from webhooks.formats import render
from webhooks.sending.guard import AddressGuard
from webhooks.sending.prepare import check_secret, new_secret, sign
from webhooks.sending.sender import Sender

_EVERY_NETWORK = ("0.0.0.0/0", "::/0")
_FORMAT = "standard"


class Forwarder:
    """Posts events to one URL, signed with one secret.

    Raises:
        click.BadParameter: The URL or the secret is none that a webhook could have.
    """

    def __init__(self, url: str, secret: str | None) -> None:
        self.secret = secret or new_secret()
        self._url = url
        guard = AddressGuard(_EVERY_NETWORK, allow_http=True)
        self._sender = Sender(guard)
        try:
            guard.check_url(url)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--forward") from error
        try:
            check_secret(self.secret)
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--secret") from error

    def send(self, record: EventRecord) -> dict[str, Any]:
        """Post the event once; return what came of it, as ``-o json`` shows it."""
        event, now = _event(record), datetime.now(UTC)
        try:
            rendered = render(_FORMAT, event.id, event)
        except RenderError as error:
            return {"status": None, "error": error.message, "duration_ms": 0}
        headers = {
            **rendered.headers,
            HOP_HEADER: str(event.hop),
            **sign(event.id, now, rendered.body, [self.secret]),
            "content-type": rendered.content_type,
        }
        result = self._sender.send(self._url, rendered.body, headers, now=now)
        return {
            "status": result.status,
            "error": result.error,
            "duration_ms": round(result.duration_seconds * 1000),
        }


def is_wanted(
    record: EventRecord, event_types: Sequence[str], since: datetime | None
) -> bool:
    """Whether a webhook with these types would be told, if it was there since then."""
    is_late_enough = since is None or record.timestamp >= since
    return is_late_enough and is_asked_for(event_types or ("*",), _event(record))


def _event(record: EventRecord) -> Event:
    model = str(record.data.get("model", ""))
    return Event(
        id=record.id,
        type=record.type,
        ordering_key=model,
        subject=model,
        target=record.data.get("to_stage"),
        data=record.data,
        occurred_at=record.timestamp,
        is_opt_in=record.type in OPT_IN,
    )
