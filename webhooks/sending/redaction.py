"""Keeping secrets out of what is recorded about an attempt.

Rules:

- Request headers are recorded by an allow-list of names; every other value is
  replaced whole. What was replaced counts as a secret in the answer too.
- A receiver may echo anything: each secret is looked for as it is and in the
  encodings that servers echo in (percent, form, JSON, HTML, base64).
- An answer that is cut in the middle of a secret loses that beginning as well.
"""

import base64
import html
import json
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from urllib.parse import quote, quote_plus

REDACTED = "(redacted)"
#: Header names whose values nobody can use, besides ``ce-…`` (CloudEvents).
SAFE_HEADERS = frozenset(
    {
        *("accept", "accept-encoding", "connection", "content-type", "user-agent"),
        *("webhook-id", "webhook-timestamp", "webhook-replay", "webhook-gap"),
        *("x-github-api-version", "x-github-event", "x-gitlab-event"),
        *("x-mlflow-delivery-id", "x-mlflow-timestamp"),
    }
)
#: Header names of answers that are secrets between the receiver and its clients.
SECRET_ANSWER_HEADERS = frozenset({"set-cookie", "set-cookie2", "authorization"})
MIN_ECHO_LENGTH = 8
MIN_BEGINNING = 4


def is_safe(name: str) -> bool:
    """Whether a request header's value may be recorded."""
    lower = name.lower()
    return lower in SAFE_HEADERS or lower.startswith("ce-")


class Redactor:
    """Replaces secrets in text and bytes.

    Args:
        secrets: clear values, in any order; empty ones are ignored.
        headers: the request's headers, whose unsafe values are secrets as well.
    """

    def __init__(self, secrets: Iterable[str], headers: Mapping[str, str]) -> None:
        self._secrets = {secret for secret in secrets if secret}
        # In pieces, too: "Bearer x", "v1,x v1,y".
        self._pieces = {
            piece
            for name, value in headers.items()
            if not is_safe(name)
            for piece in value.split()
            if len(piece) >= MIN_ECHO_LENGTH
        }
        # No form is shorter than its secret, and most answers are short.
        self._shortest = min(map(len, self._secrets | self._pieces), default=0)

    @cached_property
    def _forms(self) -> list[str]:
        encoded = {form for secret in self._secrets for form in _forms(secret)}
        forms = encoded | self._pieces
        # A header's bytes are read as Latin-1, whatever they were meant as.
        forms |= {form.encode().decode("latin-1") for form in forms}
        # The longest first: a secret may contain another one.
        return sorted(forms, key=len, reverse=True)

    def request_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the request's headers as they may be recorded."""
        return {
            name: self.text(value) if is_safe(name) else REDACTED
            for name, value in headers.items()
        }

    def response_headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Return the answer's headers as they may be recorded, names in lower case."""
        return {
            self.text(name).lower(): REDACTED
            if name.lower() in SECRET_ANSWER_HEADERS
            else self.text(value)
            for name, value in headers.items()
        }

    def text(self, text: str) -> str:
        """Replace every secret in a text."""
        if len(text) >= self._shortest:
            for form in self._forms:
                text = text.replace(form, REDACTED)
        return text

    def body(self, body: bytes) -> bytes:
        """Replace every secret in the bytes, and the beginning of one at their end."""
        if len(body) < min(self._shortest, MIN_BEGINNING):
            return body
        forms = [form.encode() for form in self._forms]
        for form in forms:
            body = body.replace(form, REDACTED.encode())
        for form in forms:
            if form[:MIN_BEGINNING] not in body[-len(form) :]:
                continue
            for length in range(min(len(form) - 1, len(body)), MIN_BEGINNING - 1, -1):
                if body.endswith(form[:length]):
                    return body[:-length] + REDACTED.encode()
        return body


def _forms(secret: str) -> Iterable[str]:
    """Yield a secret as it may come back."""
    yield secret
    for encoded in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        yield encoded
        yield re.sub("%..", lambda escape: escape[0].lower(), encoded)
    yield json.dumps(secret)[1:-1]
    yield json.dumps(secret, ensure_ascii=False)[1:-1]
    yield html.escape(secret)
    yield base64.b64encode(secret.encode()).decode().rstrip("=")
    yield base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=")
