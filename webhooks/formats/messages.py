"""What a chat message says of an event: a title, labelled facts, a link.

Options of the chat formats:

- ``text``: the title, with paths in braces: ``{data.model} is {data.to_stage}``
  (default: the event's type). What is not a path stays as written.
- ``facts``: a selection, label to path, at most ten (default: the texts and numbers
  directly in the data).
- ``link``: a path to an address that the message links to.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from webhooks.errors import InvalidSubscriptionError
from webhooks.events import Event
from webhooks.formats.contract import Options
from webhooks.formats.options import read_text, require_known
from webhooks.formats.selection import (
    PATH,
    document_of,
    find,
    is_path,
    read_selection,
    select_texts,
    text_of,
)
from webhooks.placeholders import DEPLOYMENT_TOKEN

MAX_TITLE_TEMPLATE = 1000
MAX_TITLE = 2000
MAX_FACTS = 10
MAX_LABEL = 100
MAX_FACT = 500
DEFAULT_TEXT = "{type}"
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
    template = read_text(options, "text", DEFAULT_TEXT, maximum=MAX_TITLE_TEMPLATE)
    if LENT_TOKEN_IN_TEXT in template:
        raise InvalidSubscriptionError("options.text", "must not hold secrets")
    facts = read_selection(options, "facts", {}, maximum=MAX_FACTS)
    if not all(map(_is_shown, facts.values())):
        raise InvalidSubscriptionError("options.facts", "must map labels to paths")
    if "link" in options and not _is_shown(options["link"]):
        raise InvalidSubscriptionError("options.link", "must be a path")


def message_of(message_id: str, event: Event, options: Options) -> Message:
    """Say what happened."""
    document = document_of(message_id, event)
    template = options.get("text", DEFAULT_TEXT)
    title = _PATH_IN_TEXT.sub(lambda match: text_of(find(match[1], document)), template)
    facts = (
        select_texts(options["facts"], document)
        if "facts" in options
        else _plain_facts(document["data"])
    )
    return Message(
        title=shorten(title, MAX_TITLE) or event.type,
        facts=tuple(
            (shorten(label, MAX_LABEL), shorten(value, MAX_FACT))
            for label, value in facts.items()
        ),
        link=_link(options, document),
    )


def shorten(text: str, maximum: int) -> str:
    """Cut a text that is too long, and show that it was cut."""
    return text if len(text) <= maximum else text[: maximum - 1] + "…"


def _is_shown(value: object) -> bool:
    """Tell whether the value is a path to something that everybody may see."""
    return is_path(value) and value != DEPLOYMENT_TOKEN


def _plain_facts(data: Mapping[str, Any]) -> dict[str, str]:
    plain = {
        name: text_of(value)
        for name, value in data.items()
        if isinstance(value, str | int | float) and value != ""
    }
    return dict(list(plain.items())[:MAX_FACTS])


def _link(options: Options, document: Mapping[str, Any]) -> str | None:
    found = find(options["link"], document) if "link" in options else None
    if isinstance(found, str) and re.fullmatch(r"https?://[!-~]+", found):
        return found
    return None
