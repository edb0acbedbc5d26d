"""The stage policy on the wire."""

from marshmallow import fields

from registry.api.schemas.base import AnswerSchema, RequestSchema, text
from registry.domain.names import MAX_NAME_CHARACTERS


class PolicyQuery(RequestSchema):
    """Whose rules are asked for; without a model those that nothing overrides."""

    model = text(minimum=1, maximum=MAX_NAME_CHARACTERS, load_default=None)


def _stages_by_stage(description: str) -> fields.Dict:
    return fields.Dict(
        keys=fields.String(),
        values=fields.List(fields.String()),
        required=True,
        metadata={"description": description},
    )


class PolicyDocument(AnswerSchema):
    """Where versions may move."""

    stages = fields.List(fields.String(), required=True)
    transitions = _stages_by_stage(
        "the stages that a version may be moved to, by where it is; gates may ask"
        " for more"
    )
    exclusive = fields.Dict(
        keys=fields.String(),
        values=fields.String(),
        required=True,
        metadata={
            "description": "stages that hold one version, and where it goes when the"
            " next one enters"
        },
    )
    deletable = fields.List(
        fields.String(),
        required=True,
        metadata={"description": "versions in these stages may be deleted"},
    )
    digest = fields.String(
        required=True,
        metadata={"description": "of the policy file, as in the audit log"},
    )
