"""Where this server is, as its answers and events tell others.

Rules:

- ``STAGEGATE_PUBLIC_URL`` says it. A request's ``Host`` is the word of whoever sends
  it, and receivers of webhooks would send their tokens there.
- Without the setting two sorts of hosts are believed: this machine's own, which leads
  nobody elsewhere, and names that ``STAGEGATE_ALLOWED_HOSTS`` lists in full. A pattern
  there (``.svc``) says who may ask, and anybody may have a name of that form.
- Where nothing is believed, links are left out.
"""

import re
from urllib.parse import quote

from flask import request

from registry.addresses import is_loopback
from registry.settings import Settings

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


def own_address(settings: Settings) -> str:
    """Return the address with the path that we are served below; empty if unknown."""
    return settings.public_url or _requested_address(settings.allowed_hosts)


def _requested_address(allowed_hosts: tuple[str, ...]) -> str:
    match = _HOST.fullmatch(request.host.lower())
    if match is None:
        return ""
    name, port = match[1].removesuffix("."), match[2] or ""
    listed = {
        host.lower().partition(":")[0].removesuffix(".") for host in allowed_hosts
    }
    if not is_loopback(name) and name not in listed:
        return ""
    return f"{request.scheme}://{name}{port}{quote(request.script_root)}"
