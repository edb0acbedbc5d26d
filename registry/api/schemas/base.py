"""The two kinds of schema, and the values they share.

Rules:

- What comes in refuses unknown fields and wrong types (OWASP ASVS 15.3.3).
- What goes out is a typed document, from which OpenAPI has its schema; only what
  marshmallow writes is an ``AnswerSchema``.
"""

from typing import Any, TypedDict

from marshmallow import RAISE, Schema, ValidationError, fields, validate

from registry.domain import names
from registry.domain.timestamps import rfc3339
from registry.errors import InvalidInputError

MAX_PAGE = 200
DEFAULT_PAGE = 50
MAX_TEXT = names.MAX_TEXT_CHARACTERS
MAX_SHORT_TEXT = names.MAX_SHORT_TEXT_CHARACTERS

# Text that a database can store has no NUL. Lone surrogates are refused besides, by
# a rule that stays out of the OpenAPI document, which could not be encoded with it.
STORABLE = r"^[^\x00]*$"
_NAME = r"[^/:\x00-\x1f\x7f-\x9f]"
MODEL_NAME = rf"^{_NAME}*[^/:\s\x00-\x1f\x7f-\x9f]{_NAME}*$"
# What else makes an artifact path is more than a pattern can say (domain.manifests).
_MAX_LINK = 2000
_LINK = r"""^[Hh][Tt][Tt][Pp][Ss]?://[!-\[\]-~]+$"""
ARTIFACT_PATH = r"^[^/\\\x00-\x1f\x7f-\x9f]+(/[^/\\\x00-\x1f\x7f-\x9f]+)*$"


#: Names that a path cannot end in; for the OpenAPI document.
NOT_DOTS = {"not": {"enum": [".", ".."]}}


class RequestSchema(Schema):
    """What a client sends."""

    class Meta:
        """Refuse what is not known."""

        unknown = RAISE


class AnswerSchema(Schema):
    """What the registry answers, written by marshmallow."""


class Page(TypedDict):
    """A part of a list."""

    next_cursor: str | None


def _check_storable(value: str) -> None:
    try:
        names.clean_text(value, field="text")
    except InvalidInputError as error:
        raise ValidationError(error.message) from error


def text(
    *, maximum: int = MAX_TEXT, minimum: int = 0, **options: object
) -> fields.String:
    """A text that can be stored."""
    rules = [
        validate.Length(min=minimum, max=maximum),
        validate.Regexp(STORABLE, error="must not contain NUL"),
        _check_storable,
    ]
    return fields.String(validate=rules, **options)  # type: ignore[arg-type]  # marshmallow's own keywords


def name(**options: object) -> fields.String:
    """The name of a model."""
    rules = [
        validate.Length(min=1, max=names.MAX_NAME_CHARACTERS),
        validate.Regexp(
            MODEL_NAME,
            error="must not be blank or contain '/', ':' or control characters",
        ),
    ]
    return fields.String(validate=rules, metadata=NOT_DOTS, **options)  # type: ignore[arg-type]  # marshmallow's own keywords


def artifact_path() -> fields.String:
    """The path of a file in an artifact, as far as a pattern can say."""
    rules = [
        validate.Length(min=1, max=1024),
        validate.Regexp(
            ARTIFACT_PATH, error="must be relative, with '/' between its segments"
        ),
    ]
    return fields.String(required=True, validate=rules)


def link(description: str) -> fields.String:
    """An address that people are to open."""
    return fields.String(
        load_default=None,
        validate=[
            validate.Length(max=_MAX_LINK),
            validate.Regexp(_LINK, error="must be a plain ASCII http or https URL"),
        ],
        metadata={"description": description},
    )


def cursor(kind: str = "name") -> fields.String:
    """Where a list that goes by name, or by number, is to go on."""
    return fields.String(
        load_default=None,
        metadata={
            "format": f"cursor-by-{kind}",
            "description": "next_cursor of the page before",
        },
    )


def whole_number(
    *, minimum: int = 1, maximum: int = 2**31 - 1, **options: object
) -> fields.Integer:
    """An integer as JSON has it: no text, no fraction."""
    return WholeNumber(
        strict=True,
        validate=validate.Range(min=minimum, max=maximum),
        **options,  # type: ignore[arg-type]  # marshmallow's own keywords
    )


class WholeNumber(fields.Integer):
    """An integer as JSON Schema has it: 1.0 is one."""

    def _validated(self, value: Any) -> int:  # noqa: ANN401  # as JSON has it
        is_whole = isinstance(value, float) and value.is_integer()
        return super()._validated(int(value) if is_whole else value)


class Instant(fields.DateTime):
    """An instant as every answer has it."""

    SERIALIZATION_FUNCS = {"iso": rfc3339}  # noqa: RUF012  # as marshmallow has it


class Number(fields.Float):
    """A number as JSON has it: no text."""

    def _validated(self, value: object) -> float:
        if not isinstance(value, int | float):
            raise self.make_error("invalid", input=value)
        return super()._validated(value)


class PageQuery(RequestSchema):
    """How much of a list to answer, and from where on."""

    limit = fields.Integer(
        load_default=DEFAULT_PAGE,
        validate=validate.Range(min=1, max=MAX_PAGE),
        metadata={"description": "at most; a page of large items ends early"},
    )
    cursor = cursor()


class NumberedPageQuery(PageQuery):
    """The same for lists that go by number."""

    cursor = cursor("number")
