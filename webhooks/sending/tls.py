"""What a receiver is asked to prove over TLS, and what is proved to it.

Rules:

- Chain and host name are always verified; there is no switch against it.
- A private authority replaces the public ones: whoever names one trusts nobody
  else for this receiver.
- Contexts are kept by a digest of what they were made of, the last few only. The
  public bundle is read for the first receiver that needs it: it costs a megabyte
  and 20 ms, and many installations know ``http`` receivers alone.
- A client key never lies on a disk where memory files exist (Linux); elsewhere it
  is in a private file for the time that OpenSSL takes to read it.
- ``SSL_CERT_FILE``, ``SSLKEYLOGFILE`` and ``REQUESTS_CA_BUNDLE`` have no effect.
"""

import contextlib
import hashlib
import os
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import astuple, dataclass, field

from requests.utils import DEFAULT_CA_BUNDLE_PATH

from webhooks.errors import TLSMaterialError

MAX_CONTEXTS = 16


@dataclass(frozen=True)
class Tls:
    """The material of one receiver, each part as PEM text.

    ``ca_certificate`` is what to trust instead of the public authorities;
    ``client_certificate`` (with its chain) and ``client_key`` (not encrypted)
    belong together.
    """

    ca_certificate: str | None = None
    client_certificate: str | None = None
    client_key: str | None = field(default=None, repr=False)

    @property
    def digest(self) -> bytes:
        """Tell materials apart without keeping a key."""
        return hashlib.sha256(repr(astuple(self)).encode()).digest()


#: Of a receiver that has none of its own.
PUBLIC = Tls()


class TlsContexts:
    """Makes contexts and keeps the last ones; thread-safe."""

    def __init__(self) -> None:
        self._public: ssl.SSLContext | None = None
        # The one that was asked for last stands last.
        self._kept: dict[bytes, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def get(self, tls: Tls) -> ssl.SSLContext:
        """Return the context for the material.

        Raises:
            TLSMaterialError: OpenSSL cannot use it; nothing of it is quoted.
        """
        # One at a time: a wave of sends to a new receiver makes one context.
        with self._lock:
            if tls == PUBLIC:
                self._public = self._public or make_context(PUBLIC)
                return self._public
            digest = tls.digest
            context = self._kept.pop(digest, None) or make_context(tls)
            self._kept[digest] = context
            if len(self._kept) > MAX_CONTEXTS:
                del self._kept[next(iter(self._kept))]
            return context


def make_context(tls: Tls) -> ssl.SSLContext:
    """Make a client's context: TLS 1.2 or newer, chain and name verified.

    Raises:
        TLSMaterialError: OpenSSL cannot use the material.
    """
    # Not create_default_context: it writes session keys where the environment says.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        if tls.ca_certificate is None:
            context.load_verify_locations(cafile=DEFAULT_CA_BUNDLE_PATH)
        else:
            context.load_verify_locations(cadata=tls.ca_certificate)
    except (ssl.SSLError, ValueError) as error:
        raise TLSMaterialError("the CA certificate cannot be used") from error
    if tls.client_certificate is not None:
        _load_client(context, tls.client_certificate, tls.client_key or "")
    return context


def _load_client(context: ssl.SSLContext, certificate: str, key: str) -> None:
    content = f"{certificate.rstrip()}\n{key.rstrip()}\n".encode()
    try:
        with _file_in_memory(content) as path:
            # Without a password at hand OpenSSL would ask the terminal for one.
            context.load_cert_chain(path, password=_refuse)
    except (ssl.SSLError, ValueError) as error:
        raise TLSMaterialError(
            "the client certificate or its key cannot be used"
        ) from error


def _refuse() -> str:
    raise ValueError("the client key is encrypted")


@contextlib.contextmanager
def _file_in_memory(content: bytes) -> Iterator[str]:
    """Yield a path to the content, the only form in which OpenSSL takes a key."""
    create: Callable[[str], int] | None = getattr(os, "memfd_create", None)
    if create is None:
        with tempfile.NamedTemporaryFile(prefix="stagegate-") as file:
            file.write(content)
            file.flush()
            yield file.name
        return
    with os.fdopen(create("client"), "wb", buffering=0) as file:
        file.write(content)
        yield f"/proc/self/fd/{file.fileno()}"
