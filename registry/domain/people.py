"""People, as an identity provider or a proxy tells of them.

Rules:

- Who somebody is, is issuer and subject: names and addresses are given to others later.
- A role comes of the roles claim, where a value is the name of one that is for all
  models (``admin``, or ``stagegate-admin``), or of what is bound to the person or to a
  group. All other values mean nothing here.
- An account of a service is nobody's: it is no human behind what it does.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.domain.actors import Actor, ActorKind, CredentialKind
from registry.domain.roles import Grant, Role
from registry.errors import NotSignedInError

#: OpenID Connect Core 1.0, section 2, has 255 ASCII characters.
MAX_SUBJECT_CHARACTERS = 255
MAX_NAME_CHARACTERS = 255
MAX_GROUPS = 500
_PREFIX = "stagegate-"
_SERVICE = "service-account-"  #: before a client's name, in Keycloak
_LOCAL_PATH = re.compile(r"/(?![/\\])[^\\\s\x00-\x20\x7f]{0,2000}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """Somebody who is vouched for.

    Attributes:
        name: for people to read.
        groups: their names, as roles are bound to them.
        roles: values of the roles claim, whether they mean something here or not.
        is_service: whether it is the account of a program.
    """

    issuer: str
    subject: str
    name: str
    groups: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    is_service: bool = False

    @property
    def principal(self) -> str:
        """Return who it is, for good."""
        return f"{self.issuer}#{self.subject}"

    def __post_init__(self) -> None:
        """Hold the subject to what a log and a principal can keep.

        Raises:
            NotSignedInError: it is none.
        """
        length = len(self.subject)
        if not (0 < length <= MAX_SUBJECT_CHARACTERS and self.subject.isprintable()):
            raise NotSignedInError("the subject that was vouched for is none")


def person_of(
    claims: Mapping[str, Any], *, groups_claim: str, roles_claim: str
) -> Person:
    """Return whom the claims of a verified token tell of.

    Raises:
        NotSignedInError: they tell of nobody.
    """
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise NotSignedInError("the token has no subject")
    username = claims.get("preferred_username")
    clients = (claims.get("azp"), claims.get("client_id"))
    return Person(
        issuer=str(claims["iss"]),
        subject=subject,
        name=_name(username, claims.get("name"), subject),
        groups=_texts(claims, groups_claim),
        roles=_texts(claims, roles_claim),
        is_service=str(username).startswith(_SERVICE) or subject in clients,
    )


def actor_of(
    person: Person,
    bound: Sequence[Grant],
    *,
    credential: CredentialKind,
    credential_id: str = "",
) -> Actor:
    """Return who acts, with the grants of the roles claim and what is bound."""
    return Actor(
        kind=ActorKind.CI if person.is_service else ActorKind.USER,
        name=person.name,
        principal=person.principal,
        grants=(*_granted(person.roles), *bound),
        credential=credential,
        credential_id=credential_id,
        human="" if person.is_service else person.principal,
    )


def is_local_path(text: str) -> bool:
    r"""Whether a browser that is sent there stays here: not ``//host``, ``/\host``."""
    return _LOCAL_PATH.fullmatch(text) is not None


def _granted(roles: Sequence[str]) -> list[Grant]:
    known = {role.value: role for role in Role if role.is_global}
    names = dict.fromkeys(value.removeprefix(_PREFIX) for value in roles)
    return [Grant(known[name]) for name in names if name in known]


def _name(*candidates: object) -> str:
    for candidate in candidates:
        if isinstance(candidate, str) and candidate.isprintable() and candidate.strip():
            return candidate.strip()[:MAX_NAME_CHARACTERS]
    return "somebody"


def _texts(claims: Mapping[str, Any], path: str) -> tuple[str, ...]:
    found = _claim(claims, path)
    values = found if isinstance(found, list) else [found]
    texts = [v for v in values if isinstance(v, str) and v.isprintable()]
    return tuple(dict.fromkeys(texts))[:MAX_GROUPS]


def _claim(claims: Mapping[str, Any], path: str) -> object:
    """Return a claim by its name, or ``a.b`` as ``b`` within ``a``.

    Names may have dots in them themselves: the longest that is there is meant.
    """
    if path in claims:
        return claims[path]
    head, found, rest = path, None, ""
    while found is None and "." in head:
        head, _, last = head.rpartition(".")
        rest = f"{last}.{rest}" if rest else last
        inner = claims.get(head)
        found = _claim(inner, rest) if isinstance(inner, Mapping) else None
    return found
