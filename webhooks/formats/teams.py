"""The ``teams`` format: an Adaptive Card for a workflow's webhook.

Options: ``text``, ``facts`` and ``link`` (``webhooks.formats.messages``). The
URL carries a signature: what follows its host is kept as a credential.

Texts of an event stand in text runs, which have no Markdown. Source: Microsoft,
"Create incoming webhooks with Workflows", Adaptive Cards 1.4. A card without the
envelope is refused with 400.
"""

from typing import Any

from webhooks.events import Event
from webhooks.formats.contract import Format, Options, Rendered
from webhooks.formats.messages import Message, check, message_of
from webhooks.formats.writing import JSON_CONTENT_TYPE, json_bytes, require_size

MAX_BYTES = 28_000
CARD_CONTENT_TYPE = "application/vnd.microsoft.card.adaptive"


def render(message_id: str, event: Event, options: Options) -> Rendered:
    """Write the message as a card in its envelope.

    Raises:
        OversizeError: it is too long for Teams.
    """
    card = _card(message_of(message_id, event, options))
    attachment = {"contentType": CARD_CONTENT_TYPE, "content": card}
    body = json_bytes({"type": "message", "attachments": [attachment]})
    require_size(body, MAX_BYTES, "Teams")
    return Rendered(body, JSON_CONTENT_TYPE)


def _card(message: Message) -> dict[str, Any]:
    title = _run(message.title) | {"weight": "bolder", "size": "medium"}
    lines = [_line([title])]
    for label, value in message.facts:
        name = _run(f"{label}: ") | {"weight": "bolder"}
        lines.append(_line([name, _run(value)]))
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": lines,
    }
    if message.link is not None:
        opening = {"type": "Action.OpenUrl", "title": "Open", "url": message.link}
        card["actions"] = [opening]
    return card


def _line(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "RichTextBlock", "inlines": runs}


def _run(text: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": text}


FORMAT = Format(check=check, render=render, has_secret_url=True)
