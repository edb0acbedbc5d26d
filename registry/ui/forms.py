"""What was typed into a form, held to the rules that the API has for it."""

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError

from registry.api.converters import MAX_NUMBER
from registry.api.schemas.base import RequestSchema
from registry.errors import InvalidInputError

_MAX_DIGITS = 19


def whole_number(text: str, field: str, *, most: int = MAX_NUMBER) -> int:
    """Return the number that a text is, from 1 on.

    Raises:
        InvalidInputError: it is none, or more than ``most``.
    """
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    if not is_number or not 0 < int(text) <= most:
        raise InvalidInputError("expected a whole number from 1 on", field=field)
    return int(text)


def typed(schema: RequestSchema, **said: object) -> dict[str, Any]:
    """Return what was typed, as the API takes it.

    Raises:
        InvalidInputError: for the first member that breaks a rule.
    """
    try:
        body: dict[str, Any] = schema.load(said)
    except ValidationError as error:
        field, messages = next(iter(error.messages_dict.items()))
        while isinstance(messages, Mapping):  # of members, or of a list
            messages = next(iter(messages.values()))
        words = field.replace("_", " ").capitalize()
        raise InvalidInputError(f"{words}: {messages[0]}", field=field) from error
    return body
