"""The ``databricks`` format: what a Databricks workspace's registry sends.

- An event is told once, by the first name in ``events`` that fits it.
- It has words for the types in ``NAMES`` only.

Options:

- ``events``: the names that are asked for, such as
  ``MODEL_VERSION_TRANSITIONED_TO_PRODUCTION`` (default: every event that has a name
  and that ``event_types`` let pass, by its most general name).
- ``test_mode``: true where only tests are sent.

The credential ``secret`` signs as ``X-Databricks-Signature``, and the credential
``authorization`` is the ``Authorization`` header as it stands. A ping shows an example
of the name or type in its data's ``sample``. Source: Databricks, "Model registry
webhooks".
"""

from collections.abc import Mapping
from datetime import datetime
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
from webhooks.formats.mlflow import keyed_digest
from webhooks.formats.writing import SUBSCRIPTION_ID, Template

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
_EXAMPLE: Mapping[str, Any] = {
    "model": "example_model",
    "version": 1,
    "from_stage": "None",
    "to_stage": "Staging",
    "key": "example_key",
    "value": "example_value",
    "comment": "An example",
    "actor": {"name": "example_user"},
}


def _check(options: Options) -> None:
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
    is_test_only = options.get("test_mode", False)
    return not is_test_only and _name_of(event.type, event.target, options) is not None


def _render(_message_id: str, event: Event, options: Options) -> Rendered:
    data = event.data
    if event.type == PING_EVENT_TYPE:
        name, data = _sample(str(data.get("sample")), options)
    else:
        listed_name = _name_of(event.type, event.target, options)
        name = listed_name or _name_of(event.type, event.target, {})
    if name is None:
        raise RenderError(f"Databricks has no name for {event.type!r}")
    return json_request(_document(name, event, data))


def _name_of(event_type: str, target: str | None, options: Options) -> str | None:
    for name in options.get("events", NAMES):
        known_type, known_target = NAMES[name]
        if known_type == event_type and known_target in {None, target}:
            return str(name)
    return None


def _sample(sample: str, options: Options) -> tuple[str | None, Mapping[str, Any]]:
    """Return the name of what a ping shows, and its data."""
    name: str | None = sample
    if sample not in NAMES:
        listed = options.get("events")
        name = listed[0] if listed else _name_of(sample, None, options)
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


def _authorization(
    _options: Options, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    """Return the header as its owner wrote it; there may be none."""
    header = credentials.get("authorization")
    return {} if header is None else {"authorization": header}


def _signature(
    _message_id: str, _now: datetime, body: bytes, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    """Sign the body alone; without a secret there is no signature."""
    digest = keyed_digest(credentials, body)
    return {} if digest is None else {"x-databricks-signature": digest.hex()}


FORMAT = Format(
    check=_check,
    render=_render,
    authorization=_authorization,
    signature=_signature,
    event_types=tuple(dict.fromkeys(event_type for event_type, _ in NAMES.values())),
    takes=_takes,
    options={
        "events": Option(
            OptionKind.CHOICES, "What is asked for; else all of them", tuple(NAMES)
        ),
        "test_mode": Option(OptionKind.FLAG, "Whether tests alone are sent"),
    },
    credentials=("secret", "authorization"),
)
