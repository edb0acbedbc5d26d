"""Who is calling, and from where: what the audit log records of a caller.

The kind of a credential and its id are recorded, never the credential.
"""

from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What a token may do. Each role includes the ones before it."""

    VIEWER = "viewer"  #: reads everything but secrets
    WRITER = "writer"  #: registers models and versions
    PROMOTER = "promoter"  #: moves versions between stages
    ADMIN = "admin"  #: tokens and webhooks

    def includes(self, other: "Role") -> bool:
        """Whether this role may do all that ``other`` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Somebody or something that may act.

    Attributes:
        kind: ``token``, ``delivery`` (a receiver, by the token of its delivery) or
            ``system``.
        name: for people to read.
        token_id: the credential's id, empty for the system itself.
    """

    kind: str
    name: str
    role: Role
    token_id: str = ""


SYSTEM = Actor(kind="system", name="stagegate", role=Role.ADMIN)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """An actor in one request: what the audit log keeps of it."""

    actor: Actor
    request_id: str = ""
    source_ip: str = ""
    user_agent: str = ""
    idempotency_key_hash: str = ""
    base_url: str = ""  #: what links in events begin with; empty: they are left out
    hop: int = 0  #: how many webhooks led here, one after the other
