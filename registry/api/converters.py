"""URL parts that name something: judged before any view sees them.

A name or number that could never exist is answered 404 by routing itself, so no
query is made with a value that a database cannot hold. ``ValidationError`` would
let routing go on, and answer 405 where another method has the same path.
"""

from contextlib import suppress
from typing import Any

from flask_smorest import Api
from werkzeug.exceptions import NotFound
from werkzeug.routing import BaseConverter, IntegerConverter, Map, ValidationError

from registry.api.schemas.base import MODEL_NAME
from registry.domain import names
from registry.errors import InvalidInputError

MAX_NUMBER = 2**31 - 1


class NameConverter(BaseConverter):
    """A model name, alias or stage: anything but ``/`` that can be stored."""

    regex = r"[^/\x00-\x1f]{1,256}"

    def to_python(self, value: str) -> str:
        """Return the name in the form it is stored in."""
        try:
            return names.clean_text(value, field="name")
        except InvalidInputError as error:
            raise NotFound from error


class NumberConverter(IntegerConverter):
    """A version number that fits the database's integer."""

    regex = r"[^/]+"  # what is no number is told so

    def __init__(self, url_map: Map) -> None:
        super().__init__(url_map, min=1, max=MAX_NUMBER)

    def to_python(self, value: str) -> int:
        """Return the number."""
        if value.isascii() and value.isdigit():
            with suppress(ValidationError, ValueError):
                number: int = super().to_python(value)
                return number
        raise NotFound(
            f"a version is a whole number from 1 to {MAX_NUMBER}, not {value[:80]!r}"
        )


CONVERTERS = {"name": NameConverter, "number": NumberConverter}


def describe_converters(api: Api) -> None:
    """Make ``<name:…>`` and ``<number:…>`` known to OpenAPI."""
    api.register_converter(NameConverter, _name_schema)
    api.register_converter(NumberConverter, _number_schema)


def _name_schema(_: BaseConverter) -> dict[str, Any]:
    return {"type": "string", "minLength": 1, "maxLength": 256, "pattern": MODEL_NAME}


def _number_schema(_: BaseConverter) -> dict[str, Any]:
    return {"type": "integer", "minimum": 1, "maximum": MAX_NUMBER}
