"""Which names the registry may be asked by: ``STAGEGATE_ALLOWED_HOSTS``.

Rules:

- A request for another host is answered 400, whatever it asks for: links are
  made of that name, and a page elsewhere could point its own name at us.
- Upper and lower case, a dot at the end and a port make no other host (RFC 9110,
  4.2.3). ``.example.com`` allows every name below it.
- Probes and metrics are asked by a pod's address, which nobody can list, and
  make no links: they answer to any name.
"""

from collections.abc import Callable, Sequence
from typing import Any

from flask import Flask, Request
from werkzeug.exceptions import SecurityError
from werkzeug.routing import MapAdapter

from registry.web.rules import LateRule

PROBE_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


class HostCheckingFlask(Flask):
    """Flask with hosts that are allowed by path; none given allows all.

    Flask's own ``TRUSTED_HOSTS`` knows no exception, so it stays unset.
    """

    url_rule_class = LateRule

    def __init__(self, import_name: str, *, allowed_hosts: Sequence[str]) -> None:
        super().__init__(import_name, static_folder=None)
        self._allowed_hosts = frozenset(map(host_name, allowed_hosts))

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """No view here is a coroutine; to look takes a few percent of a request."""
        return func

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Check the request's host, then match its path."""
        if (
            request is not None
            and self._allowed_hosts
            and request.path not in PROBE_PATHS
            and not is_allowed(host_name(request.host), self._allowed_hosts)
        ):
            raise SecurityError(f"Host {request.host!r} is not allowed.")
        return super().create_url_adapter(request)


def host_name(host: str) -> str:
    """Return the name of a ``host[:port]``, as all spellings of it are compared."""
    name = host.lower()
    if not name.endswith("]"):  # of an IPv6 address without a port
        name = name.rpartition(":")[0] or name
    if not name.isascii():
        name = name.encode("idna").decode("ascii")
    return name.removesuffix(".")


def is_allowed(name: str, allowed: frozenset[str]) -> bool:
    """Whether a name is listed, or one above it with a dot before it."""
    labels = name.split(".")
    above = ("." + ".".join(labels[start:]) for start in range(1, len(labels)))
    return name in allowed or any(suffix in allowed for suffix in above)
