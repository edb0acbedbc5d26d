"""Which names the registry may be asked by: ``STAGEGATE_ALLOWED_HOSTS``.

Rules:

- A request for another host is answered 400, whatever it asks for: links are
  made of that name, and a page elsewhere could point its own name at us.
- Probes and metrics are asked by a pod's address, which nobody can list, and
  make no links: they answer to any name.
"""

from collections.abc import Sequence

from flask import Flask, Request
from werkzeug.routing import MapAdapter

PROBE_PATHS = frozenset({"/healthz", "/readyz", "/metrics"})


class HostCheckingFlask(Flask):
    """Flask with hosts that are allowed by path; none given allows all.

    Flask's own ``TRUSTED_HOSTS`` knows no exception, so it stays unset.
    """

    def __init__(self, import_name: str, *, allowed_hosts: Sequence[str]) -> None:
        super().__init__(import_name, static_folder=None)
        self._allowed_hosts = list(allowed_hosts) or None

    def create_url_adapter(self, request: Request | None) -> MapAdapter | None:
        """Check the request's host, then match its path."""
        if request is not None and request.path not in PROBE_PATHS:
            request.trusted_hosts = self._allowed_hosts
        return super().create_url_adapter(request)
