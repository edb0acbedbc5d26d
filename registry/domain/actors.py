"""Who is calling, from where, and what they may do.

Rules:

- Whether an actor may do something is asked of ``authorize`` and ``may``, alone.
- The audit log records the kind of a credential and its id, never the credential.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, auto

from registry.domain.roles import EVERY_MODEL, Action, Grant, Role, Scope
from registry.errors import PermissionDeniedError

BETWEEN_MAKERS = "\n"
MAX_MAKERS = 100


class ActorKind(StrEnum):
    """What acts."""

    USER = auto()  #: a person, by an identity provider
    TOKEN = auto()  #: a script, by a token of ours
    CI = auto()  #: a CI job, by the identity that its platform gave it
    DELIVERY = auto()  #: a receiver, by the token of its delivery
    SYSTEM = auto()


class CredentialKind(StrEnum):
    """By what it was shown who acts."""

    NONE = auto()  #: the system itself, or a server that asks for none
    TOKEN = auto()
    CI_TOKEN = auto()
    SESSION = auto()  #: a cookie, after a sign-in
    JWT = auto()  #: signed by the identity provider
    HEADERS = auto()  #: of a proxy that is trusted
    DELIVERY_TOKEN = auto()


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Somebody or something that may act.

    Attributes:
        name: for people to read.
        principal: who it is, for good: the id of a token or publisher, or issuer and
            subject of a person; empty for the system itself.
        grants: the roles.
        scopes: what the credential is confined to; None where it is not.
        credential_id: the id of the credential, never the credential.
        on_behalf_of: for whom it acts, such as the run of a CI job, by what the
            issuer calls it.
        human: the principal of the person behind it, empty where nobody is known.
        made_by: the principal that made its credential, then the one that made that
            one's, one in a line; empty where it is its own.
    """

    kind: ActorKind
    name: str
    principal: str = ""
    grants: tuple[Grant, ...] = ()
    scopes: tuple[Scope, ...] | None = None
    credential: CredentialKind = CredentialKind.NONE
    credential_id: str = ""
    on_behalf_of: Mapping[str, str] = field(default_factory=dict)
    human: str = ""
    made_by: str = ""


def makers_by(maker: Actor) -> str:
    """Return ``made_by`` of a credential that an actor makes; not an endless one."""
    makers = [maker.principal, *maker.made_by.split(BETWEEN_MAKERS)]
    return BETWEEN_MAKERS.join([each for each in makers if each][:MAX_MAKERS])


SYSTEM = Actor(kind=ActorKind.SYSTEM, name="stagegate", grants=(Grant(Role.ADMIN),))


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


def may(actor: Actor, action: Action, model: str | None = None) -> bool:
    """Whether the actor may do it, to that model or, with None, to any at all."""
    return any(grant.allows(action, model) for grant in actor.grants) and (
        actor.scopes is None
        or any(scope.allows(action, model) for scope in actor.scopes)
    )


def may_with_every_model(actor: Actor, action: Action) -> bool:
    """Whether no model's name keeps the actor from it."""
    is_granted = any(
        grant.allows(action, None) and grant.models == EVERY_MODEL
        for grant in actor.grants
    )
    return is_granted and (
        actor.scopes is None
        or any(
            scope.allows(action, None) and scope.models == EVERY_MODEL
            for scope in actor.scopes
        )
    )


def authorize(actor: Actor, action: Action, model: str | None = None) -> None:
    """Let the actor do it, to that model or, with None, to any at all.

    Raises:
        PermissionDeniedError: naming what it takes.
    """
    if may(actor, action, model):
        return
    where = "" if model is None else f" model {model!r}"
    takes = ", ".join(role.value for role in Role if action in role.actions)
    held = ", ".join(map(str, actor.grants)) or "no role"
    raise PermissionDeniedError(
        f"{actor.name} ({held}{_confined(actor)}) may not {action.value}{where}; "
        f"that takes one of: {takes}"
    )


def readable(actor: Actor) -> Iterator[Sequence[str]]:
    """Yield sets of patterns: a model may be read if it matches one of each set.

    None at all are yielded where every model may be read.
    """
    return patterns_for(actor, Action.READ)


def patterns_for(actor: Actor, action: Action) -> Iterator[Sequence[str]]:
    """As ``readable``, of the models to which the actor may do something."""
    granted = [g.models for g in actor.grants if g.allows(action, None)]
    scoped = None
    if actor.scopes is not None:
        scoped = [s.models for s in actor.scopes if s.allows(action, None)]
    for patterns in (granted, scoped):
        if patterns is not None and EVERY_MODEL not in patterns:
            yield patterns


def _confined(actor: Actor) -> str:
    if actor.scopes is None:
        return ""
    return f", confined to {', '.join(map(str, actor.scopes)) or 'nothing'}"
