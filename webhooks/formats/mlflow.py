"""The ``mlflow`` format: what MLflow's own server sends, for its receivers.

- It has words for what MLflow announces, and for nothing else: no stage change.
- Budgets are MLflow's to announce: one may ask for them, as its clients do, and is
  never told.
- The standard headers go along; MLflow's receivers do not look at them.

Options:

- ``name``: what MLflow's clients call the webhook.

The credential ``secret`` signs as ``X-MLflow-Signature``. A ping shows an example of
the type in its data's ``sample``. Source: MLflow 3.17, "Webhooks".
"""

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import floor
from typing import Any

from webhooks.errors import RenderError
from webhooks.events import PING_EVENT_TYPE, Event
from webhooks.formats.contract import (
    Format,
    Option,
    OptionKind,
    Options,
    Reader,
    Rendered,
    json_request,
    refuse,
)

SECRET = "secret"  # noqa: S105  # The name of a credential.
NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@dataclass(frozen=True)
class Word:
    """What MLflow calls an event, and which members its data has."""

    entity: str
    action: str
    members: tuple[str, ...]


_MODEL = ("name", "tags", "description")
_VERSION = ("name", "version", "source", "run_id", "tags", "description")
_TEMPLATE = ("name", "version", "template", "tags", "description")
_VERSION_TAG = ("name", "version", "key", "value")
_TAG_GONE = ("name", "version", "key")
_ALIAS = ("name", "alias", "version")
_ALIAS_GONE = ("name", "alias")
_BUDGET = (
    *("budget_policy_id", "budget_unit", "budget_amount", "current_spend"),
    *("duration_unit", "duration_value", "target_scope", "workspace"),
    *("target_value", "window_start"),
)

#: What we announce.
FIRED: Mapping[str, Word] = {
    "registered_model.created": Word("registered_model", "created", _MODEL),
    "model_version.registered": Word("model_version", "created", _VERSION),
    "model_version.tag_set": Word("model_version_tag", "set", _VERSION_TAG),
    "model_version.tag_deleted": Word("model_version_tag", "deleted", _TAG_GONE),
    "model_version.alias_set": Word("model_version_alias", "created", _ALIAS),
    "model_version.alias_deleted": Word("model_version_alias", "deleted", _ALIAS_GONE),
    "prompt.created": Word("prompt", "created", _MODEL),
    "prompt_version.created": Word("prompt_version", "created", _TEMPLATE),
    "prompt.tag_set": Word("prompt_tag", "set", ("name", "key", "value")),
    "prompt.tag_deleted": Word("prompt_tag", "deleted", ("name", "key")),
    "prompt_version.tag_set": Word("prompt_version_tag", "set", _VERSION_TAG),
    "prompt_version.tag_deleted": Word("prompt_version_tag", "deleted", _TAG_GONE),
    "prompt_version.alias_set": Word("prompt_alias", "created", _ALIAS),
    "prompt_version.alias_deleted": Word("prompt_alias", "deleted", _ALIAS_GONE),
}
#: MLflow's words by event type.
WORDS: Mapping[str, Word] = {
    **FIRED,
    "budget_policy.exceeded": Word("budget_policy", "exceeded", _BUDGET),
}
#: The values that MLflow's own tests of webhooks look for.
_EXAMPLE: Mapping[str, Any] = {
    "version": 1,
    "source": "models:/123",
    "run_id": "abcd1234abcd5678",
    "tags": {"example_key": "example_value"},
    "key": "example_key",
    "value": "example_value",
    "alias": "example_alias",
    "template": "Hello {{name}}!",
    "budget_policy_id": "bp-abc123",
    "budget_unit": "USD",
    "budget_amount": 100.0,
    "current_spend": 105.5,
    "duration_unit": "MONTHS",
    "duration_value": 1,
    "target_scope": "ENDPOINT",
    "workspace": "default",
    "target_value": "ep-abc123",
    "window_start": 1_704_067_200_000,
}


def _check(options: Options) -> None:
    Reader(options).require_known("name")
    name = options.get("name", "webhook")
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        refuse(
            "name",
            "must be 1 to 63 letters, digits, dots, underscores and hyphens, with a"
            " letter or digit at both ends",
        )


def _render(message_id: str, event: Event, _options: Options) -> Rendered:
    is_ping = event.type == PING_EVENT_TYPE
    event_type = str(event.data.get("sample")) if is_ping else event.type
    word = WORDS.get(event_type)
    if word is None:
        raise RenderError(f"MLflow has no word for {event_type!r}")
    occurred_at = event.occurred_at.astimezone(UTC)
    body = {
        "entity": word.entity,
        "action": word.action,
        "timestamp": occurred_at.isoformat(timespec="microseconds"),
        "data": _said(word, _example(word) if is_ping else event.data),
    }
    headers = {"x-mlflow-delivery-id": delivery_id(message_id)}
    return json_request(body, headers)


def delivery_id(message_id: str) -> str:
    """Return the UUID that stands for the message; MLflow's receivers may store one."""
    digest = hashlib.sha256(message_id.encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def keyed_digest(credentials: Mapping[str, str], message: bytes) -> bytes | None:
    """Return the HMAC-SHA256 by the secret's UTF-8 bytes; None where there is none."""
    secret = credentials.get(SECRET)
    if secret is None:
        return None
    return hmac.new(secret.encode(), message, hashlib.sha256).digest()


def _signature(
    message_id: str, now: datetime, body: bytes, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    """Say when it is sent; without a secret there is no signature."""
    seconds = str(floor(now.timestamp()))
    signed = f"{delivery_id(message_id)}.{seconds}.".encode() + body
    digest = keyed_digest(credentials, signed)
    headers = {"x-mlflow-timestamp": seconds}
    if digest is not None:
        headers["x-mlflow-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    return headers


def _example(word: Word) -> Mapping[str, Any]:
    of = "prompt" if word.entity.startswith("prompt") else "model"
    kind = word.entity.replace("_", " ")
    return {**_EXAMPLE, "model": f"example_{of}", "description": f"An example {kind}"}


def _said(word: Word, data: Mapping[str, Any]) -> dict[str, Any]:
    known = {**data, "name": data.get("model"), "version": str(data.get("version"))}
    if word.entity in {"model_version", "prompt_version"}:
        # A model's empty description stays empty, a version's is null.
        known["description"] = data.get("description") or None
    return {name: known.get(name) for name in word.members}


FORMAT = Format(
    check=_check,
    render=_render,
    signature=_signature,
    event_types=tuple(WORDS),
    options={
        "name": Option(OptionKind.TEXT, "What MLflow's clients call it; else webhook")
    },
    credentials=("secret",),
)
