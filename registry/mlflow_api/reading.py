"""The fields of a request, from its query or its JSON body.

Rules, as MLflow's server and clients have them:

- GET has its fields in the query; one that may stand several times is a list,
  however often it stands. Without a query, GET may have a JSON body.
- All others, DELETE too, have them in a JSON object of type ``application/json``.
- A field is known as ``run_id`` and as ``runId``; both at once are refused.
- JSON null is the same as an absent field; unknown fields are ignored.
- Types are taken as they are sent: a number is no text and a text no flag.
  Whole numbers alone may come as text, as protobuf's JSON writes them.
- What is stored has the bounds that it has in ``/api/v1``: given here as a
  ``maximum`` where no service knows one.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from flask import Request, current_app, request

from registry.auth.permissions import Judge, named
from registry.domain import names
from registry.errors import InvalidInputError

_WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,18}")
#: Fields of a query that may stand several times.
_LISTS = frozenset({"order_by", "orderBy", "stages", "events"})
_SEE_DOCS = "See the API docs for more information about request parameters."


class Fields:
    """What one request says.

    Every method raises ``InvalidInputError`` for a value of another type. Texts
    come back in the form in which the registry stores them (``names.clean_text``), but
    for addresses, which stay as they were sent.
    """

    def __init__(self, values: Mapping[str, Any], *, is_query: bool = False) -> None:
        self._values = values
        self._is_query = is_query  # every value is a list of texts then

    def required(self, name: str) -> str:
        """Return a text that is neither missing, empty nor blank."""
        text = self.optional(name)
        if text is None or not text.strip():
            raise missing(name)
        return text

    def required_address(self, name: str) -> str:
        """Return a source or the path of a file, neither missing, empty nor blank."""
        address = self.address(name)
        if not address.strip():
            raise missing(name)
        return address

    def address(self, name: str) -> str:
        """Return a source or the path of a file; absent it is empty."""
        value = self._single(name)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise _invalid(name, value)
        return names.storable_text(value, field=name)

    def text(self, name: str, default: str = "", *, maximum: int | None = None) -> str:
        """Return a text of at most ``maximum`` characters; absent it is ``default``."""
        text = self.optional(name, maximum=maximum)
        return default if text is None else text

    def optional(self, name: str, *, maximum: int | None = None) -> str | None:
        """Return a text of at most ``maximum`` characters, or None when absent."""
        value = self._single(name)
        if value is None:
            return None
        text = _text(name, value)
        if maximum is not None and len(text) > maximum:
            raise InvalidInputError(
                f"must have at most {maximum} characters", field=name
            )
        return text

    def description(self) -> str:
        """Return the field ``description``; absent it is empty."""
        return self.text("description", maximum=names.MAX_TEXT_CHARACTERS)

    def texts(self, name: str) -> list[str]:
        """Return every text of a repeated field."""
        value = self._value(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise _invalid(name, value)
        return [_text(name, entry) for entry in value]

    def flag(self, name: str, *, default: bool = False) -> bool:
        """True or false; absent it is ``default``."""
        value = self._single(name)
        if self._is_query and value in {"true", "false"}:
            return bool(value == "true")  # a query has no other way to say it
        if value is None:
            return default
        if not isinstance(value, bool):
            raise _invalid(name, value)
        return value

    def whole_number(self, name: str) -> int | None:
        """Return an integer, or None when absent; text of digits is one too."""
        value = self._single(name)
        if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value):
            value = int(value)
        if value is not None and type(value) is not int:
            raise _invalid(name, value)
        return value

    def tags(self, name: str = "tags") -> dict[str, str]:
        """Tags, from ``[{"key", "value"}]``; of a repeated key the last wins."""
        tags = {tag.required("key"): tag.text("value") for tag in self.documents(name)}
        names.tags(tags)  # judged before anything is locked
        return tags

    def document(self, name: str) -> "Fields | None":
        """Return the fields of an object inside this one, or None when absent."""
        value = self._value(name)
        if value is not None and not isinstance(value, dict):
            raise _invalid(name, value)
        return None if value is None else Fields(value)

    def documents(self, name: str) -> "list[Fields]":
        """Return the objects of a repeated field."""
        value = self._value(name)
        if value is None:
            return []
        if not isinstance(value, list) or not all(
            isinstance(entry, dict) for entry in value
        ):
            raise _invalid(name, value)
        return [Fields(entry) for entry in value]

    def _single(self, name: str) -> Any:  # noqa: ANN401  # JSON may be anything
        value = self._value(name)
        if not self._is_query or value is None:
            return value
        if len(value) > 1:
            raise _repeated(name)
        return value[0]

    def _value(self, name: str) -> Any:  # noqa: ANN401  # JSON may be anything
        camel = _camel_case(name)
        if camel != name and name in self._values and camel in self._values:
            raise InvalidInputError(f"{name} and {camel} are the same field; send one")
        return self._values.get(name, self._values.get(camel))


def fields_of(request: Request) -> Fields:
    """Return the fields of a request.

    Raises:
        InvalidInputError: when the body is not a JSON object of its type.
    """
    if request.method == "GET" and (request.args or not request.get_data(cache=True)):
        return Fields(dict(request.args.lists()), is_query=True)
    return Fields(_body(request))


def in_field(*names_of: str, read: Callable[[Request], Fields] = fields_of) -> Judge:
    """Ask for a permission on each model that a field names (``auth.permissions``)."""
    return named(lambda: map(read(request).required, names_of))


def refuse_repetition() -> None:
    """Refuse a query in which a field stands twice that is no list, read or not.

    Raises:
        InvalidInputError: readers disagree on which of them counts.
    """
    for name, values in request.args.lists():
        if len(values) > 1 and name not in _LISTS:
            raise _repeated(name)


def _repeated(name: str) -> InvalidInputError:
    return InvalidInputError(f"{name} stands more than once in the query")


def _body(request: Request) -> Mapping[str, Any]:
    body = request.get_data(cache=True)
    if not body and not request.content_type:
        return {}
    if request.mimetype != "application/json":
        raise InvalidInputError(
            "Bad Request. Content-Type must be one of ['application/json']."
        )
    try:
        document = current_app.json.loads(body or b"{}")
    except ValueError as error:
        raise InvalidInputError(
            f"Bad Request. The body is not a JSON document: {error}"
        ) from error
    if not isinstance(document, dict):
        raise InvalidInputError("Bad Request. The body is not a JSON object.")
    return document


def missing(name: str) -> InvalidInputError:
    """Return the error for a required field that is not there."""
    return InvalidInputError(
        f"Missing value for required parameter '{name}'. {_SEE_DOCS}"
    )


def _invalid(name: str, value: object) -> InvalidInputError:
    return InvalidInputError(
        f"Invalid value {str(value)[:80]!r} for parameter '{name}' supplied. "
        f"{_SEE_DOCS}"
    )


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _invalid(name, value)
    return names.clean_text(value, field=name)


def _camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(other.capitalize() for other in others)


def fields_anywhere(request: Request) -> Fields:
    """Return the fields of a GET or DELETE.

    Raises:
        InvalidInputError: when there is no query and the body is no JSON object.
    """
    if request.args:
        return Fields(dict(request.args.lists()), is_query=True)
    return fields_of(request)
