"""Our roles in Databricks' words: what the one who asks may do with any model."""

from collections.abc import Mapping

from registry.auth.sign_in import current_caller
from registry.domain.actors import Role

_LEVELS: Mapping[Role, str] = {
    Role.VIEWER: "CAN_READ",
    Role.WRITER: "CAN_EDIT",
    Role.PROMOTER: "CAN_MANAGE_PRODUCTION_VERSIONS",
    Role.ADMIN: "CAN_MANAGE",
}


def permission_level() -> str:
    """The level of whoever makes the present request."""
    return _LEVELS[current_caller().actor.role]
