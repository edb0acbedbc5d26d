"""The ``slack`` format: a message for an incoming webhook.

Options: ``text``, ``facts`` and ``link`` (``webhooks.formats.messages``). The
URL is the secret: what follows its host is kept as a credential.

Nothing in an event can mention, link or format: its texts are escaped, or stand in
``plain_text`` objects. Source: Slack, "Sending messages using incoming webhooks",
"Formatting text for app surfaces".
"""

from typing import Any

from webhooks.events import Event
from webhooks.formats.contract import Format, Options, Rendered
from webhooks.formats.messages import Message, check, message_of
from webhooks.formats.writing import JSON_CONTENT_TYPE, json_bytes


def render(message_id: str, event: Event, options: Options) -> Rendered:
    """Write the message as blocks, and as text for notifications."""
    message = message_of(message_id, event, options)
    document = {"text": _escape(message.title), "blocks": _blocks(message)}
    return Rendered(json_bytes(document), JSON_CONTENT_TYPE)


def _blocks(message: Message) -> list[dict[str, Any]]:
    section: dict[str, Any] = {"type": "section", "text": _plain(message.title)}
    if message.facts:
        section["fields"] = [
            _plain(f"{label}: {value}") for label, value in message.facts
        ]
    if message.link is None:
        return [section]
    address = _escape(message.link).replace("|", "%7C")
    link = {"type": "mrkdwn", "text": f"<{address}|Open>"}
    return [section, {"type": "context", "elements": [link]}]


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _escape(text: str) -> str:
    for character, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(character, entity)
    return text


FORMAT = Format(check=check, render=render, has_secret_url=True)
