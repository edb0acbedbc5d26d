"""Registered models on the wire."""

from collections.abc import Sequence
from typing import Any, TypedDict

from marshmallow import ValidationError, fields

from registry.api.schemas.base import (
    Page,
    PageQuery,
    RequestSchema,
    name,
    text,
    whole_number,
)
from registry.domain import names
from registry.domain.documents import ModelDocument
from registry.errors import InvalidInputError


class Tags(fields.Dict):
    """Tags by their keys."""

    def _deserialize(self, value: object, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # marshmallow's own signature
        # Counted first: to judge each of 75,000 takes a second.
        if isinstance(value, dict):
            try:
                names.require_few_tags(len(value))
            except InvalidInputError as error:
                raise ValidationError(error.message) from error
        return super()._deserialize(value, *args, **kwargs)  # type: ignore[no-untyped-call]  # marshmallow's


def tag_values() -> Tags:
    """Tags to set."""
    return _tags(text(maximum=names.MAX_TAG_VALUE_CHARACTERS))


def tag_changes() -> Tags:
    """Tags to set, or to remove by null."""
    return _tags(text(maximum=names.MAX_TAG_VALUE_CHARACTERS, allow_none=True))


def _tags(values: fields.String) -> Tags:
    return Tags(
        keys=text(minimum=1, maximum=names.MAX_TAG_KEY_CHARACTERS),
        values=values,
        metadata={"maxProperties": names.MAX_TAGS},
    )


class NewModel(RequestSchema):
    """A model to register."""

    name = name(required=True)
    description = text(load_default="")
    tags = tag_values()


class ModelPatch(RequestSchema):
    """What to change of a model; a tag of null is removed."""

    name = name()
    description = text()
    tags = tag_changes()


class ModelsQuery(PageQuery):
    """Which models to list."""

    prompts = fields.Boolean(
        load_default=False,
        truthy={"true"},
        falsy={"false"},
        metadata={"description": "MLflow's prompts in place of the models"},
    )


class ModelPage(Page):
    """Models by name."""

    items: Sequence[ModelDocument]


class AliasTarget(RequestSchema):
    """Where an alias is to point."""

    version = whole_number(required=True)


class AliasDocument(TypedDict):
    """An alias."""

    alias: str
    version: int
