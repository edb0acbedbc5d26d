"""People: who is behind a request that brings no token of ours.

Rules:

- A credential that is shown decides: ``Authorization``, then the access token that
  oauth2-proxy hands on, then the cookie, then a proxy's headers. One that is not good
  is refused, and none of the others asked.
- Plain identity headers mean nothing where an identity provider is set.
- Where everybody is an admin, everybody is on this machine: by the connection, and not
  by way of a proxy.
"""

from dataclasses import replace
from datetime import datetime

from flask import request

from registry.addresses import is_loopback
from registry.auth import cookies, headers
from registry.domain.actors import Actor, ActorKind, CredentialKind
from registry.domain.people import Person
from registry.domain.roles import Grant, Role
from registry.domain.rows import SessionRow
from registry.errors import NoCredentialError
from registry.persistence.database import reading
from registry.services import people, sessions, tokens
from registry.settings import Settings

ACCESS_TOKEN = "X-Forwarded-Access-Token"  # noqa: S105  # its name
_JWT_BEGINS = "eyJ"  #: ``{"`` in base64
_PROXIED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host")
DEVELOPER = Actor(
    kind=ActorKind.USER,
    name="developer",
    principal="dev#developer",
    grants=(Grant(Role.ADMIN),),
    human="dev#developer",
)


def actor_without_token(
    settings: Settings, now: datetime
) -> tuple[Actor, SessionRow | None]:
    """Return who is behind a request without ``Authorization``, and its session.

    Raises:
        NoCredentialError: it shows none.
        NotSignedInError: what it shows is not good.
    """
    ways = settings.ways_to_sign_in
    cookie = cookies.brought(settings, cookies.SESSION)
    if cookie:
        return actor_of_cookie(cookie, now)
    person = headers.person_behind(ways.proxies) if ways.proxies else None
    if person:
        return people.sign_in(
            reading(), person, credential=CredentialKind.HEADERS
        ), None
    if ways.is_insecure_dev and _is_on_this_machine():
        return DEVELOPER, None
    raise NoCredentialError


def actor_of_cookie(cookie: str, now: datetime) -> tuple[Actor, SessionRow]:
    """Return who acts by a session, and that: what they may do is asked anew.

    Raises:
        NotSignedInError: it is none, or goes on no more.
    """
    session = sessions.find(reading(), cookie, now=now)
    return _actor_of(session, now), session


def _actor_of(session: SessionRow, now: datetime) -> Actor:
    if session.token_id is not None:
        token = tokens.find(reading(), session.token_id, now=now)
        return replace(
            tokens.actor_of(token),
            credential=CredentialKind.SESSION,
            credential_id=session.id,
        )
    person = Person(
        issuer=session.issuer,
        subject=session.subject,
        name=session.name,
        groups=tuple(session.groups),
        roles=tuple(session.roles),
    )
    return people.sign_in(
        reading(),
        person,
        credential=CredentialKind.SESSION,
        credential_id=session.id,
    )


def _is_on_this_machine() -> bool:
    is_proxied = any(name in request.headers for name in _PROXIED)
    return is_loopback(headers.peer()) and not is_proxied
