"""Addresses of servers: checked, and shown without the credentials in them.

Rules:

- The address of a server holds no credential: users, passwords and tokens have
  settings of their own. One that does is refused, and not repeated, because where
  its password begins and ends is a guess.
- What others wrote (an exception, a ``Location``) is masked before it is shown.
"""

import ipaddress
import re
from urllib.parse import urlsplit

_USABLE = re.compile(r"[^\s@?#\\]+")
#: ``user:password@`` behind any scheme; behind http a lone user may be a token.
_USER = re.compile(
    r"(?<=//)[^/?#\s@]*:[^/\s]*@|(?<=http://)[^/?#\s]+@|(?<=https://)[^/?#\s]+@",
    re.IGNORECASE,
)
#: It may hold a token, or the signature that opens a store; urllib3 writes ``url: /…``.
_QUERY = re.compile(r"((?:://|\burl: )[^\s?'\"]*\?)[^\s'\"]+")


def server_address(text: str) -> str:
    """The address of an HTTP server, without a slash at its end.

    Raises:
        ValueError: when it is none, or holds more than host, port and path. The
            message does not quote it: it may hold a password.
    """
    address = text.strip().rstrip("/")
    try:
        parts = urlsplit(address)
        is_usable = parts.scheme in {"http", "https"} and bool(parts.hostname)
        is_usable = is_usable and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or not _USABLE.fullmatch(address) or not address.isprintable():
        raise ValueError(
            "expected http(s)://host[:port][/path], without user, password or query"
        )
    return address


def masked(text: str) -> str:
    """A text in which addresses have ``***`` in place of what may be a credential."""
    return _QUERY.sub(r"\1***", without_user(text))


def without_user(text: str) -> str:
    """As ``masked``, with the queries of addresses left as they are."""
    return _USER.sub("***@", text)


def is_loopback(host: str) -> bool:
    """Whether a host, without its port, is this machine to itself."""
    name = host.lower().removesuffix(".")
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
