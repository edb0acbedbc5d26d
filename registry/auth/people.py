"""People: who is behind a request that brings no token of ours.

Rules:

- A credential that is shown decides: ``Authorization``, then the access token that
  oauth2-proxy hands on, then a proxy's headers, then the cookie. One that is not good
  is refused, and none of the others asked.
- Plain identity headers mean nothing where an identity provider is set.
- Where everybody is an admin, everybody is on this machine: by the connection, and not
  by way of a proxy.
"""

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from flask import request

from registry.addresses import is_loopback
from registry.auth import cookies, headers
from registry.domain.actors import Actor, ActorKind, CredentialKind
from registry.domain.openid import is_jwt
from registry.domain.people import Person
from registry.domain.roles import Grant, Role
from registry.domain.rows import SessionRow
from registry.errors import NoCredentialError
from registry.persistence.database import reading
from registry.services import people, sessions, tokens
from registry.settings import Settings

if TYPE_CHECKING:  # it is loaded where one is set
    from registry.identity.provider import Provider

ACCESS_TOKEN = "X-Forwarded-Access-Token"  # noqa: S105  # its name
_PROXIED = ("Forwarded", "X-Forwarded-For", "X-Forwarded-Host")
DEVELOPER = Actor(
    kind=ActorKind.USER,
    name="developer",
    principal="dev#developer",
    grants=(Grant(Role.ADMIN),),
    human="dev#developer",
)


@dataclass(frozen=True)
class Ways:
    """The ways in which people sign in here.

    Attributes:
        provider: None where no identity provider is set.
    """

    settings: Settings
    provider: "Provider | None"

    def take(self, credential: str) -> bool:
        """Whether that in ``Authorization`` is for us; a token of ours never is."""
        return self.provider is not None and is_jwt(credential)

    def actor(self, jwt: str, now: datetime) -> tuple[Actor, SessionRow | None]:
        """Return who makes the present request, and the session of it.

        Args:
            jwt: what ``Authorization`` has, or nothing.
            now: the instant of the request.

        Raises:
            NoCredentialError: it shows none.
            NotSignedInError: what it shows is not good.
        """
        if self.provider:
            jwt = jwt or request.headers.get(ACCESS_TOKEN, "")
            if jwt:
                person, jti = self.provider.bearer(jwt)
                return _signed_in(person, CredentialKind.JWT, jti), None
        actor = self._vouched_for()
        if actor:
            return actor, None
        cookie = cookies.brought(self.settings, cookies.SESSION)
        if cookie:
            return actor_of_cookie(cookie, now)
        raise NoCredentialError

    def _vouched_for(self) -> Actor | None:
        ways = self.settings.ways_to_sign_in
        person = headers.person_behind(ways.proxies) if ways.proxies else None
        if person:
            return _signed_in(person, CredentialKind.HEADERS, "")
        return DEVELOPER if ways.is_insecure_dev and _is_on_this_machine() else None


def _signed_in(person: Person, by: CredentialKind, credential_id: str) -> Actor:
    return people.sign_in(reading(), person, credential=by, credential_id=credential_id)


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
    return _signed_in(person, CredentialKind.SESSION, session.id)


def _is_on_this_machine() -> bool:
    is_proxied = any(name in request.headers for name in _PROXIED)
    return is_loopback(headers.peer()) and not is_proxied
