"""One client's connection, bounded in what it may keep the server waiting for.

Rules, after those of nginx and of Apache's mod_reqtimeout:

- A head is here within 10 s and has 16 KiB at most. Of a body come 10,000 bytes or the
  rest of it in each 20 s. What is late is answered 408, and closed.
- Each piece of an answer is taken within 30 s, or the connection is cut.
- A body that nobody will read any more is let arrive for 5 s, so that its sender sees
  the answer; closing at once would reset the connection under it.
- An idle connection is kept for 75 s. Where there are too many, the one that has asked
  for nothing for the longest time goes.
- None of these waits holds a thread. uvicorn bounds none of them but the idle one.

This builds on parts of ``uvicorn.protocols.http.httptools_impl`` that are not promised
to stay: pyproject.toml holds its version to the one that the tests ran with.
"""

import asyncio
import re
import resource
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, ClassVar, NoReturn
from urllib.parse import quote_from_bytes

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

IDLE_SECONDS = 75
MAX_HEAD_BYTES = 16 * 1024
MAX_CONNECTIONS = 4096
_MAX_FILES = 65_536  #: more than any load here needs; some systems allow a billion
_FILES_BESIDES = 512  #: databases, artifacts, webhooks
_UNSENT_BYTES = 128 * 1024
_UPGRADE = re.compile(rb"\r\nupgrade:", re.IGNORECASE)
_ASCII = "".join(map(chr, range(128)))


@dataclass(frozen=True, slots=True)
class Term:
    """How long something may take, and how much of it must come in that time."""

    seconds: float
    or_bytes: int | None = None

    def is_met(self, received_bytes: int) -> bool:
        """Whether enough came for another term to begin."""
        return self.or_bytes is not None and received_bytes >= self.or_bytes


class Awaited(Enum):
    """What the client owes."""

    NOTHING = auto()
    HEAD = auto()
    BODY = auto()
    UNWANTED_BODY = auto()


class Connection(HttpToolsProtocol):
    """uvicorn's connection with our bounds."""

    terms: ClassVar[Mapping[Awaited, Term]] = {
        Awaited.HEAD: Term(10),
        Awaited.BODY: Term(20, or_bytes=10_000),
        Awaited.UNWANTED_BODY: Term(5),
    }
    sending_seconds: ClassVar = 30.0

    _awaited = Awaited.NOTHING
    _awaited_in_all = 0
    _timed = 0
    since = 0.0  #: when it began to owe what it owes
    _received = 0
    _timer: asyncio.TimerHandle | None = None
    _sending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401  asyncio's or uvloop's
        """Make room for it, and wait for its first head."""
        super().connection_made(transport)
        # To buffer little is to know soon of a client that does not read.
        transport.set_write_buffer_limits(high=0)
        own: socket.socket = transport.get_extra_info("socket")
        own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        self._await(Awaited.HEAD)
        self._keep_time()
        if len(self.connections) > most_connections():
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing any more."""
        super().connection_lost(exc)
        self._await(Awaited.NOTHING)
        self._keep_time()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """Parse what came, and see what is still to come."""
        if self._awaited in {Awaited.NOTHING, Awaited.HEAD}:
            data = readable_head(data)
        super().data_received(data)
        self._received += len(data)
        if self._awaited is Awaited.HEAD and self._received > MAX_HEAD_BYTES:
            self._give_up(b"431 Request Header Fields Too Large")
        self._keep_time()

    def on_message_begin(self) -> None:
        """A head begins."""
        super().on_message_begin()
        # uvicorn replaces the client by the one that a proxy names.
        self.scope["state"]["peer"] = self.client[0] if self.client else ""
        self._await(Awaited.HEAD)

    def on_headers_complete(self) -> None:
        """A head is complete; refuse the request before anything is made of it."""
        size_bytes = sum(len(name) + len(value) for name, value in self.headers)
        if len(self.url) + size_bytes > MAX_HEAD_BYTES:
            self._refuse(b"431 Request Header Fields Too Large")
        if self.parser.should_upgrade():  # its body would be taken for another protocol
            self._refuse(b"501 Not Implemented")
        self._await(Awaited.BODY)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """A request is complete."""
        self._await(Awaited.NOTHING)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """A request is answered, perhaps before it is complete."""
        super().on_response_complete()
        if self._awaited is Awaited.BODY:
            self._await(Awaited.UNWANTED_BODY)
            self._keep_time()

    def send_400_response(self, msg: str) -> None:
        """Say that it is not HTTP, where nothing else was said."""
        if not self.transport.is_closing():
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """The client does not take what is sent."""
        super().pause_writing()
        self._sending = self.loop.call_later(self.sending_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The client has taken it."""
        super().resume_writing()
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None

    def _await(self, awaited: Awaited) -> None:
        self._awaited = awaited
        self._awaited_in_all += 1
        self.since = self.loop.time()
        self._received = 0

    def _keep_time(self) -> None:
        """Have one timer, for what is awaited now; mostly that is nothing."""
        if self._timed == self._awaited_in_all:
            return
        self._timed = self._awaited_in_all
        if self._timer is not None:
            self._timer.cancel()
        self._begin_term()

    def _begin_term(self) -> None:
        term = self.terms.get(self._awaited)
        if term is not None:
            self._timer = self.loop.call_later(term.seconds, self._end_term)

    def _end_term(self) -> None:
        term = self.terms.get(self._awaited)
        # What we do not read yet is not the client's fault.
        if self.flow.read_paused or (term and term.is_met(self._received)):
            self._received = 0
            self._begin_term()
        elif self._received or self._awaited is not Awaited.HEAD:
            self._give_up(b"408 Request Timeout")
        else:
            self.transport.close()

    def _give_up(self, status: bytes) -> None:
        """Say why, unless the request has been answered, and close."""
        cycle = self.cycle
        is_answered = (
            cycle is not None
            and cycle.response_started
            and (self._awaited is not Awaited.HEAD or not cycle.response_complete)
        )
        if not is_answered:
            head = b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
            self.transport.write(head % status)
        self.transport.close()

    def _refuse(self, status: bytes) -> NoReturn:
        self._give_up(status)
        raise ValueError(status)

    def _make_room(self) -> None:
        silent = [
            other
            for other in self.connections
            if isinstance(other, Connection)
            and (other.cycle is None or other.cycle.response_complete)
        ]
        min(silent, key=lambda other: other.since).transport.abort()


def readable_head(data: bytes) -> bytes:
    """What begins with a head, or continues one, as its parser can read it.

    Paths may hold bytes that should have been percent-encoded; curl sends them. An
    upgrade to HTTP/2, which Java's client asks for, is passed over (RFC 9110, 7.8):
    the parser would take the body that follows for HTTP/2.
    """
    if not data.isascii():
        target, end, rest = data.partition(b"\r\n")
        data = quote_from_bytes(target, _ASCII).encode() + end + rest
    head, end, rest = data.partition(b"\r\n\r\n")
    return _UPGRADE.sub(b"\r\nx-upgrade:", head) + end + rest


def most_connections() -> int:
    """How many connections there may be: each is a file to the system."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(min(MAX_CONNECTIONS, files - _FILES_BESIDES), files // 2)


def allow_many_files() -> None:
    """Raise the soft limit of open files, which many systems set to 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _MAX_FILES)), hard))
