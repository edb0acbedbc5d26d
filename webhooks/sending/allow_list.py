"""What the operator opens inside the deny list: a network, or one port of it."""

import ipaddress
from dataclasses import dataclass
from typing import Self

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_PORT = 65535


@dataclass(frozen=True)
class AllowedNetwork:
    """A network, and the one port that may be reached there; None is any."""

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
        return cls(network, _port(port, text) if colon else None)

    def opens(self, port: int) -> bool:
        """Whether it is about the port."""
        return self.port in (None, port)

    def includes(self, address: IPAddress, port: int) -> bool:
        """Whether it opens the address at the port."""
        return self.opens(port) and address in self.network


def _port(text: str, whole: str) -> int:
    port = int(text) if text.isascii() and text.isdigit() else 0
    if not 1 <= port <= MAX_PORT:
        raise ValueError(f"{whole!r} does not end with a port from 1 to {MAX_PORT}")
    return port
