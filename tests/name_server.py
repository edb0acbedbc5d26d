"""A name server on UDP, for the names that its table knows.

- An entry gives addresses, an alias, an error code, or nothing: then it is silent.
- A list of entries is used up answer by answer; the last one goes on.
- Only for a child with a network of its own (``tests.integration.webhooks.dns_child``):
  the system's resolver asks port 53.
"""

import ipaddress
import socket
import struct
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SERVFAIL, NXDOMAIN = 2, 3
_A, _CNAME, _AAAA = 1, 5, 28
_ANSWERED = 0x8180


@dataclass(frozen=True)
class Entry:
    """What is answered about a name."""

    addresses: Sequence[str] = ()
    alias: str = ""
    error: int = 0
    is_silent: bool = False


class NameServer:
    """Answers until the process ends.

    Args:
        table: entries by name, in the order in which they are given out.
    """

    def __init__(self, table: Mapping[str, Sequence[Entry]]) -> None:
        self._left = {name: list(entries) for name, entries in table.items()}
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind(("127.0.0.1", 53))

    def start(self) -> None:
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            query, sender = self._socket.recvfrom(4096)
            answer = self._answer(query)
            if answer:
                self._socket.sendto(answer, sender)

    def _answer(self, query: bytes) -> bytes:
        name, end = _read_name(query, 12)
        (kind,) = struct.unpack_from("!H", query, end)
        entry = self._entry(name, kind)
        if entry.is_silent:
            return b""
        owner, records = b"\xc0\x0c", []
        if entry.alias:
            target = _name(entry.alias)
            records.append(_record(owner, _CNAME, target))
            owner = target
        for text in entry.addresses:
            address = ipaddress.ip_address(text)
            if kind == (_A if address.version == 4 else _AAAA):
                records.append(_record(owner, kind, address.packed))
        head = struct.pack("!HHHHH", _ANSWERED | entry.error, 1, len(records), 0, 0)
        return query[:2] + head + query[12 : end + 4] + b"".join(records)

    def _entry(self, name: str, kind: int) -> Entry:
        entries = self._left.get(name, [Entry(error=NXDOMAIN)])
        # Both families are asked for; the first one's question uses an entry up.
        is_used_up = kind == _A and len(entries) > 1
        return entries.pop(0) if is_used_up else entries[0]


def _record(owner: bytes, kind: int, value: bytes) -> bytes:
    return owner + struct.pack("!HHIH", kind, 1, 0, len(value)) + value


def _name(text: str) -> bytes:
    labels = text.encode().split(b".")
    return b"".join(bytes([len(label)]) + label for label in labels) + b"\0"


def _read_name(packet: bytes, at: int) -> tuple[str, int]:
    labels = []
    while length := packet[at]:
        labels.append(packet[at + 1 : at + 1 + length].decode("ascii").lower())
        at += length + 1
    return ".".join(labels), at + 1
