"""The stage policy on the wire."""

from collections.abc import Mapping, Sequence
from typing import Annotated, TypedDict

from registry.api.schemas.base import RequestSchema, text
from registry.domain.names import MAX_NAME_CHARACTERS


class PolicyQuery(RequestSchema):
    """Whose rules are asked for; without a model those that nothing overrides."""

    model = text(minimum=1, maximum=MAX_NAME_CHARACTERS, load_default=None)


class PolicyDocument(TypedDict):
    """Where versions may move."""

    stages: Sequence[str]
    transitions: Annotated[
        Mapping[str, Sequence[str]],
        "the stages that a version may be moved to, by where it is; gates may ask"
        " for more",
    ]
    exclusive: Annotated[
        Mapping[str, str],
        "stages that hold one version, and where it goes when the next one enters",
    ]
    deletable: Annotated[Sequence[str], "versions in these stages may be deleted"]
    digest: Annotated[str, "of the policy file, as in the audit log"]
