"""Which addresses a webhook may reach, decided at connect time.

Rules:

- A URL is ``https`` (``http`` where the operator allows it), has no user, no
  fragment, and only printable ASCII.
- Ports 443 and 8443 (and 80 with ``http``); inside a network that the operator
  allows any port, or the one that is named with it.
- A name is resolved once per connection. One blocked answer refuses them all;
  the connection goes to a vetted literal, and the peer is checked once more.
- ``getaddrinfo`` knows no timeout, so it runs in a thread that is left behind when
  it stalls, one for all who ask for the same name, and never more than ``MAX_THREADS``.
  A name that does not resolve, or not in time, has no addresses.
- IPv4 inside IPv6 (mapped, NAT64, 6to4, Teredo, ISATAP) is decoded and judged.
  IPv6 outside 2000::/3 is refused.
- Link-local networks and the metadata services of clouds stay refused even
  inside a network that the operator allows.
- Whoever owns the URL learns one sentence for every refusal: which inside names
  exist is not theirs to probe. The log has the address.

``ipaddress.is_global`` is no guard: it lets NAT64, 6to4, multicast and site-local
addresses through. Sources: the IANA special-purpose registries, RFC 6052, RFC 6890.
"""

import ipaddress
import logging
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import lru_cache
from typing import Self
from urllib.parse import SplitResult, urlsplit

from webhooks.errors import BlockedAddressError, UnreachableError

logger = logging.getLogger(__name__)

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network
Resolver = Callable[[str, int], Sequence[str]]
Lookup = Future[Sequence[str]]
Step = Callable[[str, str | None], None]

KEPT_VERDICTS = 1024
MAX_PORT = 65535
MAX_THREADS = 32
IDLE_SECONDS = 5.0
MAX_URL_LENGTH = 2048
DEFAULT_PORTS = {"https": 443, "http": 80}
COMMON_PORTS = {
    "https": frozenset({443, 8443}),
    "http": frozenset({80, 443, 8443}),
}
MIN_SHARE_SECONDS = 0.5


def _networks(*texts: str) -> tuple[IPNetwork, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


NEVER_ALLOWED = _networks(
    *("169.254.0.0/16", "fe80::/10"),  # Link-local, and most metadata services.
    *("168.63.129.16/32", "100.100.100.200/32", "192.0.0.192/32"),
    *("fd00:ec2::/32", "fd20:ce::254/128"),
    *("0.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32", "ff00::/8"),
)
DENIED = _networks(
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
    *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24"),
    *("192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32"),
    *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
)
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
_IPV4_IN_LAST_BITS = _networks("::/96", "64:ff9b::/96", "64:ff9b:1::/48")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
# Interface identifiers 0000:5efe and 0200:5efe (RFC 5214 §6.1).
_ISATAP = 0x00005EFE
_ISATAP_MASK = 0xFDFFFFFF
_PRINTABLE = re.compile(r"[!-\[\]-~]*")
_PLACE = re.compile(r"([a-z0-9._-]+|\[[0-9a-f:.]+\])(:[0-9]*)?", re.IGNORECASE)


@dataclass(frozen=True)
class AllowedNetwork:
    """What the operator opens inside the deny list: a network, or one port of it."""

    network: IPNetwork
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``10.0.0.0/8``, ``10.0.0.0/8:8080``, ``fd00::/8:8080``, ``10.1.2.3:80``.

        Raises:
            ValueError: it is none of these.
        """
        address, slash, rest = text.partition("/")
        # Without a length, one colon is a port's and more are of an IPv6 address.
        if not slash and text.count(":") != 1:
            return cls(ipaddress.ip_network(text))
        end, colon, port = (rest if slash else text).partition(":")
        network = ipaddress.ip_network(f"{address}/{end}" if slash else end)
        if not colon:
            return cls(network)
        number = int(port) if port.isascii() and port.isdigit() else 0
        if not 1 <= number <= MAX_PORT:
            raise ValueError(f"{text!r} does not end with a port from 1 to {MAX_PORT}")
        return cls(network, number)

    def opens(self, port: int) -> bool:
        """Whether it is about the port."""
        return self.port in (None, port)

    def includes(self, address: IPAddress, port: int) -> bool:
        """Whether it opens the address at the port."""
        return self.opens(port) and address in self.network


# What is kept is asked for three times in each send, and mostly of the same receivers.
@lru_cache(KEPT_VERDICTS)
def canonical_address(text: str) -> IPAddress:
    """Read an address; ``::ffff:a.b.c.d`` is the IPv4 address it stands for.

    Raises:
        ValueError: the text is not an IP address.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped or address
    return address


def embedded_ipv4(address: IPAddress) -> tuple[ipaddress.IPv4Address, ...]:
    """Find the IPv4 addresses that a translating network could reach."""
    if not isinstance(address, ipaddress.IPv6Address):
        return ()
    value = int(address)
    numbers: list[int] = []
    # "::" and "::1" lie in ::/96 and stand for themselves.
    if value > 1 and any(address in network for network in _IPV4_IN_LAST_BITS):
        numbers.append(value)
    if address in _LOCAL_NAT64:
        # A /48, /56 and /64 prefix puts it in three places, and all of them skip the
        # bits 64 to 71 (RFC 6052 §2.2).
        without_u = (value >> 64) << 56 | value & ((1 << 56) - 1)
        numbers += [without_u >> shift for shift in (40, 32, 24)]
    if address.sixtofour:
        numbers.append(value >> 80)
    if address.teredo:
        numbers.append(~value)
    if (value >> 32) & _ISATAP_MASK == _ISATAP:
        numbers.append(value)
    return tuple(ipaddress.IPv4Address(entry & 0xFFFFFFFF) for entry in numbers)


def _is_listed(address: IPAddress, networks: Sequence[IPNetwork]) -> bool:
    """Whether a list has the address, or one that is embedded in it."""
    entries = (address, *embedded_ipv4(address))
    return any(entry in network for entry in entries for network in networks)


@lru_cache(KEPT_VERDICTS)
def _is_never_allowed(address: IPAddress) -> bool:
    return _is_listed(address, NEVER_ALLOWED)


@lru_cache(KEPT_VERDICTS)
def _is_denied(address: IPAddress) -> bool:
    is_inside = address.version == 6 and address not in GLOBAL_UNICAST  # noqa: PLR2004
    return is_inside or _is_listed(address, DENIED)


@lru_cache(KEPT_VERDICTS)
def _literal(host: str) -> IPAddress | None:
    """Read a host that is an address, in any form the resolver would take."""
    try:
        return canonical_address(host)
    except ValueError:
        pass
    try:
        # Decimal, octal, hexadecimal and short forms: 2130706433, 0x7f.1, 127.1.
        return ipaddress.IPv4Address(socket.inet_aton(host))
    except OSError:
        return None


def resolve_by_system(host: str, port: int) -> Sequence[str]:
    """Ask the system's resolver for every stream address of the host."""
    entries = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(entry[4][0]) for entry in entries]


class BoundedResolver:
    """Asks a resolver that may block, in threads of its own; thread-safe.

    A thread that has nothing to do waits for a while: to start one costs as much as
    half a send.
    """

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver
        self._under_way: dict[tuple[str, int], Lookup] = {}
        self._wanted: deque[tuple[str, int]] = deque()
        self._threads: list[threading.Thread] = []
        lock = threading.Lock()
        self._has_room = threading.Condition(lock)
        self._has_work = threading.Condition(lock)

    def resolve(self, host: str, port: int, timeout_seconds: float) -> Sequence[str]:
        """Return the host's addresses, or none when they do not come in time."""
        give_up_at = time.monotonic() + timeout_seconds
        try:
            lookup = self._join((host, port), timeout_seconds)
            return lookup.result(max(0.0, give_up_at - time.monotonic()))
        except TimeoutError:
            return ()

    def _join(self, key: tuple[str, int], timeout_seconds: float) -> Lookup:
        """Find or start the lookup of the name (TimeoutError: every thread stalls)."""

        def may_go_on() -> bool:
            return key in self._under_way or len(self._under_way) < MAX_THREADS

        with self._has_room:
            if not self._has_room.wait_for(may_go_on, timeout_seconds):
                raise TimeoutError
            if key in self._under_way:
                return self._under_way[key]
            # A fork leaves them behind.
            self._threads = [entry for entry in self._threads if entry.is_alive()]
            if len(self._threads) <= len(self._under_way):
                thread = threading.Thread(
                    target=self._work, name="webhook-resolver", daemon=True
                )
                thread.start()
                self._threads.append(thread)
            # After the start: a thread that cannot start must not be waited for.
            self._under_way[key] = Future()
            self._wanted.append(key)
            self._has_work.notify()
            return self._under_way[key]

    def _work(self) -> None:
        """Ask for one name after another, until none is wanted for a while."""
        while True:
            with self._has_work:
                if not self._has_work.wait_for(lambda: self._wanted, IDLE_SECONDS):
                    self._threads.remove(threading.current_thread())
                    return
                key = self._wanted.popleft()
            self._ask(key)

    def _ask(self, key: tuple[str, int]) -> None:
        answers: Sequence[str] = ()
        try:
            answers = self._resolver(*key)
        except (OSError, UnicodeError):
            # UnicodeError is what the idna codec says of an impossible label.
            pass
        finally:
            # First: whoever asks after this answer starts a lookup of its own.
            with self._has_room:
                lookup = self._under_way.pop(key)
                self._has_room.notify_all()
            lookup.set_result(answers)


def _split(url: str) -> SplitResult:
    if len(url) > MAX_URL_LENGTH:
        raise ValueError(f"the URL is longer than {MAX_URL_LENGTH} characters")
    if not _PRINTABLE.fullmatch(url):
        raise ValueError(
            "the URL must be printable ASCII without blanks and backslashes;"
            " write other host names in their xn-- form"
        )
    return urlsplit(url)


def port_of(parts: SplitResult) -> int:
    """Return the port that a URL names, or the one of its scheme."""
    port = parts.port
    if port == 0:
        raise ValueError("port 0 is not a port")
    return port or DEFAULT_PORTS[parts.scheme]


class AddressGuard:
    """Judges URLs when they are saved and addresses when they are reached.

    Args:
        allowed_networks: what may be reached although the deny list covers it; a
            text is read by ``AllowedNetwork.parse``.
        allow_http: whether plain ``http`` URLs are accepted.
        resolver: gives every address of a host; may block.

    Raises:
        ValueError: a network is not one.
    """

    def __init__(
        self,
        allowed_networks: Sequence[str | AllowedNetwork] = (),
        *,
        allow_http: bool = False,
        resolver: Resolver = resolve_by_system,
    ) -> None:
        self.allowed_networks = tuple(
            AllowedNetwork.parse(network) if isinstance(network, str) else network
            for network in allowed_networks
        )
        self.allow_http = allow_http
        self._names = BoundedResolver(resolver)

    def allows(self, address: IPAddress, port: int, scheme: str = "https") -> bool:
        """Whether a connection to the address and port may be made."""
        if _is_never_allowed(address):
            return False
        if any(network.includes(address, port) for network in self.allowed_networks):
            return True
        return port in COMMON_PORTS[scheme] and not _is_denied(address)

    def check_url(self, url: str) -> SplitResult:
        """Judge a URL, without asking the network; return its parts.

        Raises:
            ValueError: with a sentence for the owner of the URL. A host name is
                judged for good only when it is reached.
        """
        parts = _split(url)
        if parts.scheme not in ("https", "http"):
            raise ValueError("the URL must start with https://")
        if parts.scheme == "http" and not self.allow_http:
            raise ValueError("plain http:// is not allowed here; use https://")
        if "@" in parts.netloc:
            raise ValueError("the URL must not carry a user or a password")
        if "#" in url:
            raise ValueError("the URL must not have a fragment")
        host = parts.hostname
        if not host:
            raise ValueError("the URL has no host")
        if not _PLACE.fullmatch(parts.netloc):
            raise ValueError("the host of the URL is neither a name nor an address")
        self._check_place(host, port_of(parts), parts.scheme)
        return parts

    def _check_place(self, host: str, port: int, scheme: str) -> None:
        if address := _literal(host):
            if not self.allows(address, port, scheme):
                raise ValueError("the address or port of the URL is not allowed")
            return
        common = COMMON_PORTS[scheme]
        is_opened = any(network.opens(port) for network in self.allowed_networks)
        if port not in common and not is_opened:
            raise ValueError(f"port {port} is not allowed; use {sorted(common)}")

    def vet(
        self, host: str, port: int, *, scheme: str, timeout_seconds: float
    ) -> list[str]:
        """Resolve a host and give its addresses, each once, all of them allowed.

        Raises:
            BlockedAddressError: it does not resolve in time, or one answer is
                blocked. Both read the same to the owner of the URL.
        """
        if literal := _literal(host):
            texts = [str(literal)]
        else:
            answers = self._names.resolve(host, port, timeout_seconds)
            texts = list(dict.fromkeys(answers))
        for text in texts:
            # A zone ("%eth0") only ever belongs to a link-local address.
            if "%" in text or not self.allows(canonical_address(text), port, scheme):
                logger.warning(
                    "webhook_address_refused host=%s address=%s port=%d",
                    *(host, text, port),
                )
                raise BlockedAddressError
        if not texts:
            raise BlockedAddressError
        return texts

    def connect(
        self,
        host: str,
        port: int,
        *,
        scheme: str,
        timeout_seconds: float,
        on_step: Step = lambda _step, _address: None,
    ) -> socket.socket:
        """Resolve, vet and connect, all within one timeout.

        ``on_step`` is told ``("name", None)`` when every address was vetted and
        ``("connect", address)`` when one is connected to.

        Raises:
            BlockedAddressError: the host may not be reached.
            UnreachableError: no vetted address accepted a connection in time.
        """
        give_up_at = time.monotonic() + timeout_seconds
        addresses = self.vet(host, port, scheme=scheme, timeout_seconds=timeout_seconds)
        on_step("name", None)
        failure = "no connection in time"
        for index, address in enumerate(addresses):
            remaining = give_up_at - time.monotonic()
            if remaining <= 0:
                break
            # A share each: one dead address must not use up the others' time. And
            # no less than a far receiver needs, however many addresses there are.
            share = max(remaining / (len(addresses) - index), MIN_SHARE_SECONDS)
            try:
                connection = socket.create_connection(
                    (address, port), min(share, remaining)
                )
            except OSError as error:
                failure = _describe(error)
            else:
                self._recheck(connection, port, scheme)
                on_step("connect", address)
                return connection
        raise UnreachableError(failure)

    def _recheck(self, connection: socket.socket, port: int, scheme: str) -> None:
        """Judge the peer that the socket really has."""
        try:
            peer = canonical_address(connection.getpeername()[0])
        except OSError as error:
            connection.close()
            raise UnreachableError(_describe(error)) from error
        if not self.allows(peer, port, scheme):
            connection.close()
            raise BlockedAddressError


def _describe(error: OSError) -> str:
    if isinstance(error, TimeoutError):
        return "no connection in time"
    if isinstance(error, ConnectionRefusedError):
        return "the connection was refused"
    return "no connection could be made"
