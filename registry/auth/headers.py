"""Identity headers of a proxy that is trusted.

Rules:

- They are believed only of an address that the operator listed, by the connection and
  not by ``X-Forwarded-For``, *and* with the secret, compared in constant time.
- Each of them stands once. A comma in one is what a proxy has joined of two; only
  groups may have commas. Names with underscores never get here (``serving.bridge``).
- Who somebody is, is the user; an address is held to the same and kept nowhere.
- Whoever sends them without all of that is refused, not taken for somebody without a
  credential: a proxy that lost its secret is to be noticed.
"""

import hmac

from flask import request

from registry.domain.people import MAX_GROUPS, MAX_NAME_CHARACTERS, Person
from registry.errors import NotSignedInError
from registry.ways_to_sign_in import TrustedProxies

SECRET_HEADER = "X-Stagegate-Proxy-Secret"  # noqa: S105  # its name
USER, EMAIL, GROUPS = "X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups"
USERNAME = "X-Forwarded-Preferred-Username"
ISSUER = "proxy"
#: Where the bridge says who connected, and which headers stood more than once.
PEER, REPEATED = "stagegate.peer", "stagegate.repeated"


def peer() -> str:
    """Return the address that the connection comes from, whatever headers say."""
    address = request.environ.get(PEER) or request.remote_addr
    return str(address or "")


def person_behind(proxies: TrustedProxies) -> Person | None:
    """Return whom the headers tell of; None where there are none of them.

    Raises:
        NotSignedInError: they are not to be believed.
    """
    names = (USER, USERNAME, EMAIL, GROUPS)
    given = [name for name in names if name in request.headers]
    if not given:
        return None
    secret = request.headers.get(SECRET_HEADER, "")
    is_known = hmac.compare_digest(secret.encode(), proxies.secret.encode())
    if not (proxies.include(peer()) and is_known):
        raise NotSignedInError(
            "identity headers are believed of the operator's proxies alone"
        )
    repeated: frozenset[str] = request.environ.get(REPEATED, frozenset())
    for name in given:
        if name.lower() in repeated:
            raise NotSignedInError(f"{name} stands more than once")
    user, username, _ = _single(USER), _single(USERNAME), _single(EMAIL)
    if not user:
        raise NotSignedInError(f"{USER} is missing")
    groups = (name.strip() for name in _text(GROUPS).split(","))
    return Person(
        issuer=ISSUER,
        subject=user,
        name=(username or user)[:MAX_NAME_CHARACTERS],
        groups=tuple(dict.fromkeys(filter(None, groups)))[:MAX_GROUPS],
    )


def _single(name: str) -> str:
    value = _text(name).strip()
    if "," in value or not value.isprintable():
        raise NotSignedInError(f"{name} has a comma, or what is no text")
    return value


def _text(name: str) -> str:
    """Return a header, which proxies send as UTF-8 and WSGI hands on as Latin-1."""
    value = request.headers.get(name, "")
    try:
        return value.encode("latin-1").decode()
    except UnicodeError:
        return value
