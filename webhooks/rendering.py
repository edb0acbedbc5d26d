"""The frozen part of a delivery, as columns of its row."""

from collections.abc import Mapping
from typing import Any, Protocol

from webhooks import formats
from webhooks.events import HOP_HEADER, Event


class Formatted(Protocol):
    """What says in which words a subscription is told of events."""

    @property
    def format(self) -> str:
        """The format's name."""

    @property
    def options(self) -> Mapping[str, Any]:
        """What the format needs to know."""


def render(subscription: Formatted, message_id: str, event: Event) -> dict[str, Any]:
    """Put the event into the words of the subscription's format.

    Raises:
        RenderError: the format cannot express it.
    """
    name, options = subscription.format, subscription.options
    rendered = formats.render(name, message_id, event, options)
    return {
        "body": rendered.body,
        "content_type": rendered.content_type,
        "rendered_as": {"format": name, "options": options},
        "headers": {**rendered.headers, HOP_HEADER: str(event.hop)},
    }


def nothing_rendered(event: Event) -> dict[str, Any]:
    """Return the columns of a delivery that there are no words for."""
    return {
        "body": b"",
        "content_type": "",
        "rendered_as": None,
        "headers": {HOP_HEADER: str(event.hop)},
    }
