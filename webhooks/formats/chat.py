"""The formats ``slack`` and ``teams``: a message with a title, facts and a link.

Options:

- ``text``: the title, with paths in braces: ``{data.model} is {data.to_stage}``
  (default: which version moved where, by whom). What is not a path stays as written.
- ``facts``: a selection, label to path, at most ten (default: what moved, who did it
  and why, then the other texts and numbers directly in the data).
- ``link``: a path to an address that the message links to (default: the page of the
  version).

The URL is the secret: what follows its host is kept as a credential.

Nothing in an event can mention, link or format. To Slack goes a message for an
incoming webhook, in which its texts are escaped, or stand in ``plain_text`` objects.
Slack refuses blocks of 13,200 characters and more in all, with
``msg_blocks_too_long``, though nobody documents it. To Teams goes an Adaptive Card for
a workflow's webhook, in which they stand in text runs, which have no Markdown; a card
without the envelope is refused with 400. Sources: Slack, "Sending messages using
incoming webhooks", "Formatting text for app surfaces"; bolt-js issue 2509; Microsoft,
"Create incoming webhooks with Workflows", Adaptive Cards 1.4.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webhooks.events import Event
from webhooks.formats.contract import (
    PATH,
    Format,
    Option,
    OptionKind,
    Options,
    Reader,
    Rendered,
    document_of,
    find,
    is_path,
    json_request,
    refuse,
    select_texts,
    text_of,
)
from webhooks.formats.writing import DEPLOYMENT_TOKEN, json_bytes, require_size, shorten

MAX_TITLE_TEMPLATE = 1000
MAX_TITLE = 2000
MAX_FACTS = 10
MAX_LABEL = 100
MAX_FACT = 500
MAX_BLOCKS_BYTES = 12_000
MAX_SLACK_LINK = 2900
MAX_CARD_BYTES = 28_000
DEFAULT_FACTS: Mapping[str, str] = {
    "Model": "data.model",
    "Version": "data.version",
    "From": "data.from_stage",
    "To": "data.to_stage",
    "By": "data.actor.name",
    "Why": "data.reason",
}
DEFAULT_LINK = "data.links.page"
#: What an event is about, unless its type says something else.
_MODELS = frozenset({"registered_model", "model_version"})
_PATH_IN_TEXT = re.compile(rf"\{{({PATH.pattern})\}}")


@dataclass(frozen=True)
class Message:
    """What is said; every text is plain, none is escaped yet."""

    title: str
    facts: tuple[tuple[str, str], ...]
    link: str | None


def _check(options: Options) -> None:
    read = Reader(options)
    read.require_known("text", "facts", "link")
    template = read.text("text", "{type}", maximum=MAX_TITLE_TEMPLATE)
    if f"{{{DEPLOYMENT_TOKEN}}}" in template:
        refuse("text", "must not hold secrets")
    facts = read.selection("facts", {}, maximum=MAX_FACTS)
    if not all(map(_is_shown, facts.values())):
        refuse("facts", "must map labels to paths")
    if not _is_shown(options.get("link", DEFAULT_LINK)):
        refuse("link", "must be a path")


def _is_shown(value: object) -> bool:
    """Whether the value is a path to something that everybody may see."""
    return is_path(value) and value != DEPLOYMENT_TOKEN


def message_of(message_id: str, event: Event, options: Options) -> Message:
    """Return the message that says what happened."""
    document = document_of(message_id, event)
    if "text" in options:
        title = _PATH_IN_TEXT.sub(
            lambda match: text_of(find(match[1], document)), options["text"]
        )
    else:
        title = _headline(event.type, document["data"])
    if "facts" in options:
        facts = select_texts(options["facts"], document)
    else:
        facts = _facts(document)
    url = find(options.get("link", DEFAULT_LINK), document)
    is_link = isinstance(url, str) and re.fullmatch(r"https?://[!-~]+", url)
    return Message(
        title=shorten(title, MAX_TITLE) or event.type,
        facts=tuple(
            (shorten(label, MAX_LABEL), shorten(value, MAX_FACT))
            for label, value in facts.items()
        ),
        link=url if is_link else None,
    )


def _headline(event_type: str, data: Mapping[str, Any]) -> str:
    """Say in one line what happened to what."""
    subject, _, verb = event_type.rpartition(".")
    happened = verb if subject in _MODELS else event_type
    happened = happened.replace("_", " ").replace(".", " ")
    if data.get("from_stage") and data.get("to_stage"):
        move = f"{data['from_stage']} → {data['to_stage']}"
        happened = move if subject in _MODELS else f"{happened} {move}"
    if data.get("cause"):
        happened = f"{happened} ({data['cause']})"
    model, version = data.get("model"), data.get("version")
    if model is not None:
        number = "" if version is None else f" version {version}"
        happened = f"{model}{number}: {happened}"
    who = find("actor.name", data)
    return f"{happened} by {who}" if who else happened


def _facts(document: Mapping[str, Any]) -> dict[str, str]:
    named = select_texts(DEFAULT_FACTS, document)
    shown = {path.split(".")[1] for path in DEFAULT_FACTS.values()}
    others = {
        name: text_of(value)
        for name, value in document["data"].items()
        if isinstance(value, str | int | float) and name not in shown
    }
    facts = [(label, text) for label, text in {**named, **others}.items() if text]
    return dict(facts[:MAX_FACTS])


def _render_slack(message_id: str, event: Event, options: Options) -> Rendered:
    """Write the message as blocks, and as text for notifications."""
    message = message_of(message_id, event, options)
    section: dict[str, Any] = {"type": "section", "text": _plain(message.title)}
    if message.facts:
        section["fields"] = [
            _plain(f"{label}: {fact}") for label, fact in message.facts
        ]
    blocks = [section]
    address = _escape(message.link or "").replace("|", "%7C")
    # A longer one is refused, and with it the message.
    if 0 < len(address) <= MAX_SLACK_LINK:
        link = {"type": "mrkdwn", "text": f"<{address}|Open>"}
        blocks.append({"type": "context", "elements": [link]})
    require_size(json_bytes(blocks), MAX_BLOCKS_BYTES, "Slack")
    return json_request({"text": _escape(message.title), "blocks": blocks})


def _plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text, "emoji": False}


def _escape(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _render_teams(message_id: str, event: Event, options: Options) -> Rendered:
    """Write the message as a card in its envelope."""
    message = message_of(message_id, event, options)
    title = _run(message.title) | {"weight": "bolder", "size": "medium"}
    lines = [[title]]
    for label, value in message.facts:
        lines.append([_run(f"{label}: ") | {"weight": "bolder"}, _run(value)])
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": [{"type": "RichTextBlock", "inlines": runs} for runs in lines],
    }
    if message.link is not None:
        opening = {"type": "Action.OpenUrl", "title": "Open", "url": message.link}
        card["actions"] = [opening]
    content_type = "application/vnd.microsoft.card.adaptive"
    attachment = {"contentType": content_type, "content": card}
    rendered = json_request({"type": "message", "attachments": [attachment]})
    require_size(rendered.body, MAX_CARD_BYTES, "Teams")
    return rendered


def _run(text: str) -> dict[str, Any]:
    return {"type": "TextRun", "text": text}


_OPTIONS = {
    "text": Option(
        OptionKind.TEXT, "The title, with paths: {data.model} is {data.to_stage}"
    ),
    "facts": Option(OptionKind.SELECTION, "Facts below it, each by its label"),
    "link": Option(OptionKind.TEXT, f"The path of the link; else {DEFAULT_LINK}"),
}
SLACK = Format(_check, _render_slack, has_secret_url=True, options=_OPTIONS)
TEAMS = Format(_check, _render_teams, has_secret_url=True, options=_OPTIONS)
