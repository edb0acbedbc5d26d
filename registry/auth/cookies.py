"""The cookies of a browser that is signed in, or is about to be.

Rules:

- Over https they are ``__Host-…``, Secure, HttpOnly, SameSite=Lax, for the whole host:
  no other name of the domain, and nothing in clear, can plant one.
- In clear they are for this machine itself alone, without what browsers would refuse
  there. Anywhere else nobody gets one.
"""

from urllib.parse import urlsplit

from flask import request
from werkzeug.wrappers import Response

from registry.addresses import is_loopback
from registry.errors import InvalidInputError
from registry.settings import Settings

SESSION = "stagegate"
SIGN_IN = "stagegate-sign-in"
_OF_HOST = "__Host-"


def brought(settings: Settings, name: str) -> str:
    """Return the value of one of our cookies, or nothing."""
    return request.cookies.get(_prefix(settings) + name, "")


def require_safe_place(settings: Settings) -> None:
    """Hold the present request to where a cookie may be given.

    Raises:
        InvalidInputError: it would travel in clear, over a network.
    """
    host = urlsplit(f"//{request.host}").hostname or ""
    if not _prefix(settings) and not is_loopback(host):
        raise InvalidInputError(
            "browsers sign in over https; the operator sets STAGEGATE_PUBLIC_URL to"
            " the address that they are to use",
            field="Host",
        )


def give(
    answer: Response, settings: Settings, name: str, value: str, *, seconds: int
) -> None:
    """Give the browser a cookie; no seconds take it away."""
    prefix = _prefix(settings)
    answer.set_cookie(
        prefix + name,
        value,
        max_age=seconds,
        path="/",
        secure=bool(prefix),
        httponly=True,
        samesite="Lax",
    )


def _prefix(settings: Settings) -> str:
    is_https = request.is_secure or settings.public_url.startswith("https:")
    return _OF_HOST if is_https else ""
