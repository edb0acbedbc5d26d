"""Headers that the owner of a subscription adds to each request.

Rules:

- Names are lower case from here on; what HTTP, the sender or a format sets cannot
  be set.
- A header that carries a secret by its name must have a placeholder in its value,
  because values are stored and shown as they were written.
"""

import re
from collections.abc import Mapping

from webhooks.errors import InvalidSubscriptionError
from webhooks.placeholders import PLACEHOLDER, names_in
from webhooks.specs import MAX_HEADER_LENGTH

MAX_HEADERS = 20
MAX_NAME_LENGTH = 100
FORBIDDEN_NAMES = frozenset(
    {
        *("accept-encoding", "connection", "content-encoding", "content-length"),
        *("content-type", "expect", "host", "keep-alive", "te", "trailer"),
        *("transfer-encoding", "upgrade", "user-agent", "x-hub-signature-256"),
        *("x-databricks-signature", "x-mlflow-delivery-id", "x-mlflow-signature"),
        "x-mlflow-timestamp",
    }
)
FORBIDDEN_PREFIXES = ("webhook-", "ce-", "proxy-")
SECRET_NAMES = frozenset(
    {
        *("api-key", "authorization", "cookie", "private-token", "token"),
        *("x-api-key", "x-auth-token", "x-gitlab-token"),
    }
)
_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")


def checked_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Give the headers with lower-case names.

    Raises:
        InvalidSubscriptionError: a name or a value is refused.
    """
    if len(headers) > MAX_HEADERS:
        raise InvalidSubscriptionError("headers", f"must be at most {MAX_HEADERS}")
    lowered = {name.lower(): value for name, value in headers.items()}
    if len(lowered) < len(headers):
        raise InvalidSubscriptionError("headers", "must not have a name twice")
    for name, value in lowered.items():
        _check_name(name)
        _check_value(name, value)
    return lowered


def _check_name(name: str) -> None:
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_LENGTH:
        raise InvalidSubscriptionError("headers", f"{name!r} is not a header's name")
    if name in FORBIDDEN_NAMES or name.startswith(FORBIDDEN_PREFIXES):
        raise InvalidSubscriptionError("headers", f"the header {name} cannot be set")


def _check_value(name: str, value: str) -> None:
    field = f"headers.{name}"
    if not (value.isascii() and value.isprintable() and value == value.strip()):
        raise InvalidSubscriptionError(field, "must be one line of ASCII text")
    if not 0 < len(value) <= MAX_HEADER_LENGTH:
        raise InvalidSubscriptionError(
            field, f"must have 1 to {MAX_HEADER_LENGTH} characters"
        )
    try:
        names_in(value)
    except ValueError as error:
        raise InvalidSubscriptionError(field, str(error)) from error
    if name in SECRET_NAMES and not PLACEHOLDER.search(value):
        raise InvalidSubscriptionError(
            field,
            "must take its secret from a credential, as ${NAME}: headers are stored"
            " and shown as they are written",
        )
