"""Placeholders: where a secret goes, without the secret.

Rules:

- ``${NAME}`` in what a person writes (URL, header, option) stands for a credential
  of the subscription or for a value that the application lends to each send.
- In a stored body a placeholder is NUL, its name, NUL. Neither JSON nor a form can
  hold a bare NUL, so nothing in an event's data can be taken for one.
- A placeholder is filled when a request is sent, never before: what is stored,
  logged and shown has the name only.
- The substitution knows no conditions, filters or nesting. A filled value is
  not looked at again.
"""

import json
import re
from collections.abc import Callable, Mapping
from urllib.parse import quote_plus

PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]{0,63})\}")
CREDENTIAL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
FORM_CONTENT_TYPE = "application/x-www-form-urlencoded"

DEPLOYMENT_TOKEN = "deployment_token"  # noqa: S105  # The name of a placeholder.
#: The id of the subscription that is sent to; no secret.
SUBSCRIPTION_ID = "subscription_id"
#: What each send has besides credentials. What an application does not lend is
#: filled with nothing, because a lent value may belong to some event types only.
LENT_NAMES = frozenset({DEPLOYMENT_TOKEN, SUBSCRIPTION_ID})

_MARK = "\0"
_MARKED = re.compile(rb"\0([A-Za-z0-9_]+)\0")

Escape = Callable[[str], str]


class Template(str):
    """Text whose placeholders count; other text is taken as it is."""

    __slots__ = ()


def names_in(text: str) -> frozenset[str]:
    """Name the placeholders of a text.

    Raises:
        ValueError: a ``${`` does not open a placeholder.
    """
    if "${" in PLACEHOLDER.sub("", text):
        raise ValueError(
            "a placeholder is ${NAME}, the name of letters, digits and underscores"
        )
    return frozenset(PLACEHOLDER.findall(text))


def names_in_body(body: bytes) -> frozenset[str]:
    """Name the placeholders of a stored body."""
    return frozenset(name.decode() for name in _MARKED.findall(body))


def fill(text: str, values: Mapping[str, str]) -> str:
    """Fill the placeholders of a text with the bare values.

    Raises:
        KeyError: a name has no value.
    """
    return PLACEHOLDER.sub(lambda match: values[match[1]], text)


def mark(text: str, escape: Escape) -> str:
    """Escape a text for a stored body, its placeholders marked."""
    pieces = PLACEHOLDER.split(text)
    pieces[0::2] = map(escape, pieces[0::2])
    pieces[1::2] = [f"{_MARK}{name}{_MARK}" for name in pieces[1::2]]
    return "".join(pieces)


def fill_body(body: bytes, content_type: str, values: Mapping[str, str]) -> bytes:
    """Fill the placeholders of a stored body, escaped as its type needs.

    Raises:
        KeyError: a name has no value.
    """
    escape = quote_plus if content_type == FORM_CONTENT_TYPE else json_escape
    return _MARKED.sub(lambda match: escape(values[match[1].decode()]).encode(), body)


def json_escape(text: str) -> str:
    """Write a text as the inside of a JSON string."""
    return json.dumps(text, ensure_ascii=False)[1:-1]
