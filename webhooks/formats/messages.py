"""What a chat message says of an event: a title, labelled facts, a link.

Options of the chat formats:

- ``text``: the title, with paths in braces: ``{data.model} is {data.to_stage}``
  (default: which version moved where, by whom). What is not a path stays as written.
- ``facts``: a selection, label to path, at most ten (default: what moved, who did it
  and why, then the other texts and numbers directly in the data).
- ``link``: a path to an address that the message links to (default: the version).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from webhooks.errors import InvalidSubscriptionError
from webhooks.events import Event
from webhooks.formats.contract import Options
from webhooks.formats.options import (
    PATH,
    document_of,
    find,
    is_path,
    read_selection,
    read_text,
    require_known,
    select_texts,
    text_of,
)
from webhooks.formats.writing import shorten
from webhooks.placeholders import DEPLOYMENT_TOKEN

MAX_TITLE_TEMPLATE = 1000
MAX_TITLE = 2000
MAX_FACTS = 10
MAX_LABEL = 100
MAX_FACT = 500
DEFAULT_FACTS: Mapping[str, str] = MappingProxyType(
    {
        "Model": "data.model",
        "Version": "data.version",
        "From": "data.from_stage",
        "To": "data.to_stage",
        "By": "data.actor.name",
        "Why": "data.reason",
    }
)
DEFAULT_LINK = "data.links.version"
#: What an event is about, unless its type says something else.
_MODELS = frozenset({"registered_model", "model_version"})
LENT_TOKEN_IN_TEXT = f"{{{DEPLOYMENT_TOKEN}}}"
_PATH_IN_TEXT = re.compile(rf"\{{({PATH.pattern})\}}")


@dataclass(frozen=True)
class Message:
    """What is said; every text is plain, none is escaped yet."""

    title: str
    facts: tuple[tuple[str, str], ...]
    link: str | None


def check(options: Options) -> None:
    """Read the options.

    Raises:
        InvalidSubscriptionError: one is unknown or of the wrong kind.
    """
    require_known(options, "text", "facts", "link")
    template = read_text(options, "text", "{type}", maximum=MAX_TITLE_TEMPLATE)
    if LENT_TOKEN_IN_TEXT in template:
        raise InvalidSubscriptionError("options.text", "must not hold secrets")
    facts = read_selection(options, "facts", {}, maximum=MAX_FACTS)
    if not all(map(_is_shown, facts.values())):
        raise InvalidSubscriptionError("options.facts", "must map labels to paths")
    if "link" in options and not _is_shown(options["link"]):
        raise InvalidSubscriptionError("options.link", "must be a path")


def message_of(message_id: str, event: Event, options: Options) -> Message:
    """Return the message that says what happened."""
    document = document_of(message_id, event)
    title = (
        _PATH_IN_TEXT.sub(
            lambda match: text_of(find(match[1], document)), options["text"]
        )
        if "text" in options
        else _headline(event.type, document["data"])
    )
    facts = (
        select_texts(options["facts"], document)
        if "facts" in options
        else _facts(document)
    )
    return Message(
        title=shorten(title, MAX_TITLE) or event.type,
        facts=tuple(
            (shorten(label, MAX_LABEL), shorten(value, MAX_FACT))
            for label, value in facts.items()
        ),
        link=_link(options, document),
    )


def _is_shown(value: object) -> bool:
    """Whether the value is a path to something that everybody may see."""
    return is_path(value) and value != DEPLOYMENT_TOKEN


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


def _link(options: Options, document: Mapping[str, Any]) -> str | None:
    url = find(options.get("link", DEFAULT_LINK), document)
    if isinstance(url, str) and re.fullmatch(r"https?://[!-~]+", url):
        return url
    return None
