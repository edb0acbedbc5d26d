"""Registered models on the wire."""

from marshmallow import fields

from registry.api.schemas.base import (
    AnswerSchema,
    PageQuery,
    RequestSchema,
    name,
    text,
    whole_number,
)


def tag_values() -> fields.Dict:
    """Tags to set."""
    return fields.Dict(keys=text(minimum=1, maximum=250), values=text(maximum=100_000))


def tag_changes() -> fields.Dict:
    """Tags to set, or to remove by null."""
    return fields.Dict(
        keys=text(minimum=1, maximum=250),
        values=text(maximum=100_000, allow_none=True),
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


class ModelDocument(AnswerSchema):
    """A registered model."""

    name = fields.String(required=True)
    description = fields.String(required=True)
    tags = fields.Dict(keys=fields.String(), values=fields.String(), required=True)
    aliases = fields.Dict(keys=fields.String(), values=fields.Integer(), required=True)
    stages = fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.Integer()),
        required=True,
        metadata={"description": "versions in use, by stage"},
    )
    latest_version = fields.Integer(required=True, allow_none=True)
    created_at = fields.DateTime(required=True)
    created_by = fields.String(required=True)
    updated_at = fields.DateTime(required=True)


class ModelPage(AnswerSchema):
    """Models by name."""

    items = fields.List(fields.Nested(ModelDocument), required=True)
    next_cursor = fields.String(required=True, allow_none=True)


class AliasTarget(RequestSchema):
    """Where an alias is to point."""

    version = whole_number(required=True)


class AliasDocument(AnswerSchema):
    """An alias."""

    alias = fields.String(required=True)
    version = fields.Integer(required=True)
