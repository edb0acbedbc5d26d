"""How people sign in, as the operator has set it: one way, or tokens alone.

Rules:

- An identity provider vouches for people (OpenID Connect), or a proxy does by headers,
  or everybody is an admin, for development. Two of these at once are refused: it would
  take only the weaker one to be anybody.
- Headers are believed of addresses that are named *and* with a secret.
- Tokens of ours are taken beside each of them.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from registry.addresses import is_loopback

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
MIN_PROXY_SECRET_CHARACTERS = 32
DEFAULT_SCOPES = "openid profile email"
DEFAULT_GROUPS_CLAIM = "groups"
#: A principal is an issuer, ``#``, and a subject.
_PLAIN = re.compile(r"[^\s#?@\x00-\x1f\x7f-\U0010ffff]{1,1024}")


@dataclass(frozen=True, kw_only=True)
class OpenIdProvider:
    """The identity provider that people sign in at.

    Attributes:
        issuer: exactly as it calls itself.
        client_secret: empty for a public client.
        groups_claim: where a token has the groups; ``a.b`` is ``b`` within ``a``.
        roles_claim: the same for the roles.
    """

    issuer: str
    client_id: str
    client_secret: str = field(default="", repr=False)
    scopes: str = DEFAULT_SCOPES
    groups_claim: str = DEFAULT_GROUPS_CLAIM
    roles_claim: str


@dataclass(frozen=True, kw_only=True)
class TrustedProxies:
    """Proxies that say by headers who is behind them."""

    networks: tuple[Network, ...]
    secret: str = field(repr=False)

    def include(self, address: str) -> bool:
        """Whether that is the address of one of them."""
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
            found = found.ipv4_mapped
        return any(found in network for network in self.networks)


@dataclass(frozen=True, kw_only=True)
class WaysToSignIn:
    """What is set; none of them means tokens alone."""

    provider: OpenIdProvider | None = None
    proxies: TrustedProxies | None = None
    is_insecure_dev: bool = False

    def problems(self, *, public_url: str) -> Iterator[str]:
        """Yield what does not go together."""
        names = {
            "STAGEGATE_OIDC_ISSUER": self.provider,
            "STAGEGATE_TRUSTED_PROXIES": self.proxies,
            "STAGEGATE_INSECURE_DEV": self.is_insecure_dev,
        }
        given = [name for name, value in names.items() if value]
        if len(given) > 1:
            yield f"{' and '.join(given)} are ways to sign in; keep one"
        host = urlsplit(public_url).hostname
        if self.is_insecure_dev and host and not is_loopback(host):
            yield (
                "STAGEGATE_INSECURE_DEV makes everybody an admin: it does not go with "
                "a STAGEGATE_PUBLIC_URL that others reach"
            )


def provider(
    issuer: str,
    client_id: str,
    *,
    client_secret: str,
    scopes: str,
    groups_claim: str,
    roles_claim: str,
) -> OpenIdProvider | None:
    """Return the provider; None where none is set.

    Raises:
        ValueError: for a part without the others.
    """
    if not (issuer and client_id):
        if issuer or client_id or client_secret:
            raise ValueError(
                "STAGEGATE_OIDC_ISSUER and STAGEGATE_OIDC_CLIENT_ID go together; "
                "set both or none"
            )
        return None
    if "openid" not in scopes.split():
        raise ValueError("STAGEGATE_OIDC_SCOPES: openid must be among them")
    return OpenIdProvider(
        issuer=issuer,
        client_id=client_id,
        client_secret=client_secret,
        scopes=scopes,
        groups_claim=groups_claim,
        roles_claim=roles_claim or f"resource_access.{client_id}.roles",
    )


def trusted_proxies(
    networks: tuple[Network, ...], secret: str
) -> TrustedProxies | None:
    """Return the proxies; None where none are set.

    Raises:
        ValueError: for addresses without a secret, or the other way round.
    """
    if not networks and not secret:
        return None
    if not networks or len(secret) < MIN_PROXY_SECRET_CHARACTERS:
        raise ValueError(
            "STAGEGATE_TRUSTED_PROXIES and STAGEGATE_PROXY_SECRET (at least "
            f"{MIN_PROXY_SECRET_CHARACTERS} random characters) go together: without "
            "both, anybody could say who they are"
        )
    return TrustedProxies(networks=networks, secret=secret)


def issuer(text: str) -> str:
    """Return an issuer as it was given, to be compared as a whole.

    Raises:
        ValueError: when it is none, or would be asked in clear over a network.
    """
    try:
        parts = urlsplit(text)
        is_usable = bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_usable = False
    if not is_usable or not _PLAIN.fullmatch(text):
        raise ValueError("expected https://host[:port][/path], as the issuer says it")
    if parts.scheme != "https" and not (
        parts.scheme == "http" and is_loopback(parts.hostname or "")
    ):
        raise ValueError("expected https://, or http:// on this machine itself")
    return text


def networks(text: str) -> tuple[Network, ...]:
    """Return the networks of proxies.

    Raises:
        ValueError: for what is none, or is everywhere.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    found = tuple(ipaddress.ip_network(name) for name in names)
    if any(network.prefixlen == 0 for network in found):
        raise ValueError("every address there is cannot be a trusted proxy")
    return found
