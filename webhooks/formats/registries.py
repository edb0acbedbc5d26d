"""The formats ``mlflow`` and ``databricks``: what other registries send.

- They have words for what those registries announce (``WORDS``, ``NAMES``), and for
  nothing else.
- The credential ``secret`` signs, as ``X-MLflow-Signature`` or as
  ``X-Databricks-Signature``.
- A ping shows an example of the type, or of Databricks' name, in its data's ``sample``.

Of ``mlflow``:

- MLflow has no word for a stage change. Budgets are its own to announce: one may ask
  for them, as its clients do, and is never told.
- The standard headers go along; MLflow's receivers do not look at them.

Of ``databricks``:

- An event is told once, by the first name in ``events`` that fits it; without the
  option, every event that has a name and that ``event_types`` let pass is told, by its
  most general name.
- The credential ``authorization`` is the ``Authorization`` header as it stands.

Sources: MLflow 3.17, "Webhooks"; Databricks, "Model registry webhooks".
"""

import base64
import hashlib
import hmac
import re
import uuid
from collections.abc import Iterable, Mapping, Sequence
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
from webhooks.formats.writing import SUBSCRIPTION_ID, Template

SECRET = "secret"  # noqa: S105  # The name of a credential.
MLFLOW_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


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

#: What we announce, in MLflow's words by event type.
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
#: The same, and what MLflow alone announces.
WORDS: Mapping[str, Word] = {
    **FIRED,
    "budget_policy.exceeded": Word("budget_policy", "exceeded", _BUDGET),
}

_MODEL_CREATED = "registered_model.created"
_REGISTERED = "model_version.registered"
_STAGE_CHANGED = "model_version.stage_changed"
_TAG_SET = "model_version.tag_set"
_COMMENTED = "model_version.commented"
_REQUESTED = "transition_request.created"
_STAGES = ("Staging", "Production", "Archived")

#: Event type and target by Databricks' name; a target of None stands for any.
NAMES: Mapping[str, tuple[str, str | None]] = {
    "REGISTERED_MODEL_CREATED": (_MODEL_CREATED, None),
    "MODEL_VERSION_CREATED": (_REGISTERED, None),
    "MODEL_VERSION_TRANSITIONED_STAGE": (_STAGE_CHANGED, None),
    "TRANSITION_REQUEST_CREATED": (_REQUESTED, None),
    "COMMENT_CREATED": (_COMMENTED, None),
    "MODEL_VERSION_TAG_SET": (_TAG_SET, None),
    **{
        f"MODEL_VERSION_TRANSITIONED_TO_{stage.upper()}": (_STAGE_CHANGED, stage)
        for stage in _STAGES
    },
    **{
        f"TRANSITION_REQUEST_TO_{stage.upper()}_CREATED": (_REQUESTED, stage)
        for stage in _STAGES
    },
}
#: What a ping shows; MLflow's own tests of webhooks look for these values.
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
    "model": "example_model",
    "from_stage": "None",
    "to_stage": "Staging",
    "comment": "An example",
    "actor": {"name": "example_user"},
}


def _keyed_digest(credentials: Mapping[str, str], message: bytes) -> bytes | None:
    """Return the HMAC-SHA256 by the secret's UTF-8 bytes; None where there is none."""
    secret = credentials.get(SECRET)
    if secret is None:
        return None
    return hmac.digest(secret.encode(), message, "sha256")


def _check_mlflow(options: Options) -> None:
    Reader(options).require_known("name")
    name = options.get("name", "webhook")
    if not (isinstance(name, str) and MLFLOW_NAME.fullmatch(name)):
        refuse(
            "name",
            "must be 1 to 63 letters, digits, dots, underscores and hyphens, with a"
            " letter or digit at both ends",
        )


def _render_mlflow(message_id: str, event: Event, _options: Options) -> Rendered:
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
    headers = {"x-mlflow-delivery-id": mlflow_delivery_id(message_id)}
    return json_request(body, headers)


def mlflow_delivery_id(message_id: str) -> str:
    """Return the UUID that stands for the message; MLflow's receivers may store one."""
    digest = hashlib.sha256(message_id.encode()).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def _sign_for_mlflow(
    message_id: str, now: datetime, body: bytes, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    """Say when it is sent; without a secret there is no signature."""
    seconds = str(floor(now.timestamp()))
    signed = f"{mlflow_delivery_id(message_id)}.{seconds}.".encode() + body
    digest = _keyed_digest(credentials, signed)
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


MLFLOW = Format(
    check=_check_mlflow,
    render=_render_mlflow,
    signature=_sign_for_mlflow,
    event_types=tuple(WORDS),
    options={
        "name": Option(OptionKind.TEXT, "What MLflow's clients call it; else webhook")
    },
    credentials=(SECRET,),
)


def _check_databricks(options: Options) -> None:
    read = Reader(options)
    read.require_known("events", "test_mode")
    read.flag("test_mode", default=False)
    events = options.get("events", list(NAMES))
    if not (isinstance(events, list) and events):
        refuse("events", "must list an event's name")
    for name in events:
        if not (isinstance(name, str) and name in NAMES):
            refuse("events", f"{name!r} must be one of {', '.join(NAMES)}")


def _takes(event: Event, options: Options) -> bool:
    if options.get("test_mode", False):
        return False
    names = options.get("events", NAMES)
    return _name_of(event.type, event.target, names) is not None


def _render_databricks(_message_id: str, event: Event, options: Options) -> Rendered:
    data = event.data
    listed = options.get("events", ())
    if event.type == PING_EVENT_TYPE:
        name, data = _sample(str(data.get("sample")), listed)
    else:
        name = _name_of(event.type, event.target, [*listed, *NAMES])
    if name is None:
        raise RenderError(f"Databricks has no name for {event.type!r}")
    return json_request(_document(name, event, data))


def _name_of(event_type: str, target: str | None, names: Iterable[str]) -> str | None:
    """Return the first of these names that fits."""
    for name in names:
        known_type, known_target = NAMES[name]
        if known_type == event_type and known_target in {None, target}:
            return name
    return None


def _sample(sample: str, listed: Sequence[str]) -> tuple[str | None, Mapping[str, Any]]:
    """Return the name of what a ping shows, and its data."""
    name: str | None = sample
    if sample not in NAMES:
        name = listed[0] if listed else _name_of(sample, None, NAMES)
    stage = NAMES[name][1] if name else None
    return name, {**_EXAMPLE, "to_stage": stage or _EXAMPLE["to_stage"]}


def _document(name: str, event: Event, data: Mapping[str, Any]) -> dict[str, Any]:
    event_type = NAMES[name][0]
    document = {
        "event": name,
        "webhook_id": Template(f"${{{SUBSCRIPTION_ID}}}"),
        "event_timestamp": int(event.occurred_at.timestamp() * 1000),
        "model_name": data.get("model"),
    }
    if event_type != _MODEL_CREATED:
        document["version"] = str(data.get("version"))
    if event_type in {_STAGE_CHANGED, _REQUESTED}:
        document["to_stage"] = data.get("to_stage")
        document["from_stage"] = data.get("from_stage")
    if event_type == _TAG_SET:
        document["tags"] = [{"key": data.get("key"), "value": data.get("value")}]
    if event_type == _COMMENTED:
        document["comment"] = data.get("comment")
    document["text"] = _sentence(event_type, data)
    return document


def _sentence(event_type: str, data: Mapping[str, Any]) -> str:
    actor = data.get("actor")
    who = actor.get("name") if isinstance(actor, Mapping) else "Somebody"
    version = f"version {data.get('version')} of model '{data.get('model')}'"
    stages = f"from {data.get('from_stage')} to {data.get('to_stage')}"
    return {
        _MODEL_CREATED: f"{who} created the model '{data.get('model')}'.",
        _REGISTERED: f"{who} created {version}.",
        _STAGE_CHANGED: f"{who} moved {version} {stages}.",
        _REQUESTED: f"{who} asked to move {version} {stages}.",
        _TAG_SET: f"{who} set the tag '{data.get('key')}' of {version}.",
        _COMMENTED: f"{who} commented on {version}.",
    }[event_type]


def _authorize_databricks(
    _options: Options, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the header as its owner wrote it; there may be none."""
    header = credentials.get("authorization")
    return {} if header is None else {"authorization": header}


def _sign_for_databricks(
    _message_id: str, _now: datetime, body: bytes, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    """Sign the body alone; without a secret there is no signature."""
    digest = _keyed_digest(credentials, body)
    return {} if digest is None else {"x-databricks-signature": digest.hex()}


DATABRICKS = Format(
    check=_check_databricks,
    render=_render_databricks,
    authorization=_authorize_databricks,
    signature=_sign_for_databricks,
    event_types=tuple(dict.fromkeys(event_type for event_type, _ in NAMES.values())),
    takes=_takes,
    options={
        "events": Option(
            OptionKind.CHOICES, "What is asked for; else all of them", tuple(NAMES)
        ),
        "test_mode": Option(OptionKind.FLAG, "Whether tests alone are sent"),
    },
    credentials=(SECRET, "authorization"),
)
