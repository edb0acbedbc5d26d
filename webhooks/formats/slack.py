"""The ``slack`` format: a message for an incoming webhook.

Options: ``text``, ``facts`` and ``link`` (``webhooks.formats.messages``). The
URL is the secret: what follows its host is kept as a credential.

Nothing in an event can mention, link or format: its texts are escaped, or stand in
``plain_text`` objects. Slack refuses blocks of 13,200 characters and more in all, with
``msg_blocks_too_long``, though nobody documents it. Source: Slack, "Sending messages
using incoming webhooks", "Formatting text for app surfaces"; bolt-js issue 2509.
"""

from typing import Any

from webhooks.events import Event
from webhooks.formats.contract import Format, Options, Rendered
from webhooks.formats.messages import Message, check, message_of
from webhooks.formats.writing import JSON_CONTENT_TYPE, json_bytes, require_size

MAX_BLOCKS_BYTES = 12_000
MAX_LINK = 2900


def render(message_id: str, event: Event, options: Options) -> Rendered:
    """Write the message as blocks, and as text for notifications.

    Raises:
        OversizeError: it is too long for Slack.
    """
    message = message_of(message_id, event, options)
    blocks = _blocks(message)
    require_size(json_bytes(blocks), MAX_BLOCKS_BYTES, "Slack")
    document = {"text": _escape(message.title), "blocks": blocks}
    return Rendered(json_bytes(document), JSON_CONTENT_TYPE)


def _blocks(message: Message) -> list[dict[str, Any]]:
    section: dict[str, Any] = {"type": "section", "text": _plain(message.title)}
    if message.facts:
        section["fields"] = [
            _plain(f"{label}: {value}") for label, value in message.facts
        ]
    address = _escape(message.link or "").replace("|", "%7C")
    # A longer one is refused, and with it the message.
    if not 0 < len(address) <= MAX_LINK:
        return [section]
    link = {"type": "mrkdwn", "text": f"<{address}|Open>"}
    return [section, {"type": "context", "elements": [link]}]


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _escape(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, entity)
    return text


FORMAT = Format(check=check, render=render, has_secret_url=True)
