"""Which event a webhook's preview is of: the last real one of a type, or an example."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from registry.api.event_types import TYPES, schema_of
from registry.domain.events import OPT_IN, STAGE_CHANGED
from registry.errors import InvalidInputError
from webhooks.events import Event, format_instant, is_operational
from webhooks.preview import LOOKED_AT, last_event

PREVIEWED = "preview_event"
DEFAULT = STAGE_CHANGED
EVENT_TYPES = tuple(sorted(TYPES))
#: What examples say, by the name of the member; of others, the name itself.
_WORDS: Mapping[str, object] = {
    "model": "fraud",
    "version": 7,
    "sequence": 17,
    "stage": "Production",
    "from_stage": "Staging",
    "to_stage": "Production",
    "previous_version": 6,
    "source": "s3://models/fraud/7",
    "download_uri": "s3://models/fraud/7",
    "artifact_digest": "sha256:" + "9f86d081" * 8,
    "reason": "passed the shadow test",
    "name": "ann",
    "alias": "champion",
    "environment": "production",
}


_PLAIN: Mapping[str, object] = {"integer": 1, "number": 0.97, "boolean": False}


@dataclass(frozen=True)
class Chosen:
    """The event of a preview; an example where nothing of its type happened lately."""

    event: Event
    is_example: bool
    looked_at: int = LOOKED_AT


def choose(cx: Connection, event_type: str, now: datetime) -> Chosen:
    """Return the event to make a preview of.

    Raises:
        InvalidInputError: there is no such type.
    """
    if event_type not in TYPES:
        raise InvalidInputError("is no type of events", field=PREVIEWED)
    found = last_event(cx, event_type, is_opt_in=event_type in OPT_IN)
    if found is None:
        return Chosen(_example(event_type, now), is_example=True)
    return Chosen(found, is_example=False)


def _example(event_type: str, now: datetime) -> Event:
    data = _value("data", schema_of(event_type)["properties"]["data"], now)
    is_about_model = not is_operational(event_type)
    return Event(
        type=event_type,
        ordering_key="",
        subject=str(_WORDS["model"]) if is_about_model else "",
        target=data.get("to_stage"),
        data=data,
        occurred_at=now,
        is_opt_in=event_type in OPT_IN,
    )


def _value(name: str, schema: Mapping[str, Any], now: datetime) -> Any:  # noqa: ANN401  # as the schema says
    if name in _WORDS:
        return _WORDS[name]
    kinds = schema.get("type")
    match schema, kinds[0] if isinstance(kinds, list) else kinds:
        case {"enum": [first, *_]}, _:
            value: Any = first
        case {"format": "date-time"}, _:
            value = format_instant(now)
        case _, "object":
            value = _object(schema, now)
        case {"anyOf": [first, *_]}, _:
            value = _value(name, first, now)
        case {"items": items}, _:
            value = [_value(name, items, now)]
        case _, kind:
            value = {"integer": 1, "number": 0.97, "boolean": False}.get(
                str(kind), name
            )
    return value


def _object(schema: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """Return every member; of several kinds of object, the first one's."""
    parts = [schema, *schema.get("anyOf", [])[:1]]
    members = {k: v for part in parts for k, v in part.get("properties", {}).items()}
    return {name: _value(name, of, now) for name, of in members.items()}
