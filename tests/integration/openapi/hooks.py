"""What schemathesis must know of Stagegate that its document does not say.

Loaded by schemathesis itself, in its own process.
"""

import base64
import ipaddress
import itertools
import json
import os
import re
from typing import Any

import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext

from registry.api.schemas.base import MODEL_NAME
from registry.domain.names import MAX_NAME_CHARACTERS

MODELS = frozenset({"digits", "iris", "wine"})
OWN_TOKEN_ID = os.environ.get("STAGEGATE_TEST_TOKEN_ID", "")

KEY = re.compile(r"[!-~]{1,255}")
# The host of an address; .invalid never resolves (RFC 2606).
HOST = re.compile(r"(?P<before>://(?:[^/?#]*@)?)(?:\[[^]]*\]|[^/?#:]*)")
URL = re.compile(r"https?://[!\"$-\[\]-~]+", re.IGNORECASE)
MAX_URL = 2000
_KEYED = ("tags", "params", "metrics")


_SOURCES = itertools.cycle(ipaddress.ip_network("198.18.0.0/15"))  # RFC 2544


def _cursor(key: str | int) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode()


schemathesis.openapi.format("cursor-by-name", st.text("abc-", max_size=9).map(_cursor))
schemathesis.openapi.format("cursor-by-number", st.integers(0, 2**40).map(_cursor))


@schemathesis.hook
def map_body(_: HookContext, body: Any) -> Any:  # noqa: ANN401  # any JSON
    """Give objects such keys as their rules allow: it has no ``propertyNames``."""
    if not isinstance(body, dict):
        return body
    keyed = {
        member: {_plain(key): value for key, value in body[member].items()}
        for member in _KEYED
        if isinstance(body.get(member), dict)
    }
    return {**body, **keyed}


def _plain(key: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", key)[:250] or "_"


@schemathesis.hook
def before_call(_: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    """Keep the token and the models in use, reach nobody, let no keys collide.

    What breaks a rule is sent as it is: mended, it would be accepted. Each request
    comes from elsewhere, or one source would have failed to sign in too often.
    """
    del kwargs
    case.headers["X-Forwarded-For"] = str(next(_SOURCES))
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if isinstance(key, str) and KEY.fullmatch(key):
        # Repeated, the creation of what was deleted since is answered as before.
        case.headers["Idempotency-Key"] = f"{key[:200]}-{case.id}"
    path: dict[str, Any] = case.path_parameters or {}
    if path.get("token_id") == OWN_TOKEN_ID:
        case.path_parameters = {"token_id": "another"}
    if isinstance(case.body, dict):
        case.body = _harmless(case.body, path.get("name"))


def _harmless(body: dict[str, Any], model: object) -> dict[str, Any]:
    name, url = body.get("name"), body.get("url")
    changed: dict[str, Any] = {}
    if model in MODELS and isinstance(name, str) and _is_model_name(name):
        changed["name"] = model  # renamed, a seeded model would not be found again
    if isinstance(url, str) and len(url) <= MAX_URL and URL.fullmatch(url):
        changed["url"] = HOST.sub(r"\g<before>h.invalid", url, count=1)
    return {**body, **changed}


def _is_model_name(name: str) -> bool:
    return len(name) <= MAX_NAME_CHARACTERS and bool(re.fullmatch(MODEL_NAME, name))
