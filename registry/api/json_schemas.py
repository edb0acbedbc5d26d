"""JSON Schema of typed documents: what is answered and what webhooks say.

A member is required where its document is total. ``Annotated`` has its description, or
the enumeration that its values are of.
"""

import types
import typing
from collections import abc
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args, get_origin, get_type_hints, is_typeddict

from registry.domain import timestamps
from webhooks import events

Part = dict[str, Any]

_INSTANT: Part = {"type": "string", "format": "date-time"}
_PLAIN: Mapping[Any, Part] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    Any: {},
    **dict.fromkeys((timestamps.Instant, events.Instant), _INSTANT),
}
_referred: dict[str, type] = {}


def reference(document: type) -> Part:
    """Return a reference to a document, which becomes one of ``components``."""
    _referred[document.__name__] = document
    return {"$ref": f"#/components/schemas/{document.__name__}"}


def components() -> Part:
    """Return the schemas of all documents that are referred to."""
    schemas: Part = {}
    while names := _referred.keys() - schemas.keys():
        for name in sorted(names):
            document = _referred[name]
            schemas[name] = {
                **object_schema([document], reference),
                "description": document.__doc__,
            }
    return schemas


def object_schema(
    parts: Sequence[Any], nested: Callable[[type], Part] | None = None
) -> Part:
    """Return the schema of an object with the members of all parts.

    A part that is a union has the members of one of its types. ``nested`` describes
    documents inside it; without, they are described where they stand.
    """
    properties: Part = {}
    required: set[str] = set()
    schema: Part = {"type": "object", "properties": properties}
    for part in parts:
        if get_origin(part) is types.UnionType:
            schema["anyOf"] = [object_schema([one], nested) for one in get_args(part)]
            continue
        hints = get_type_hints(part, include_extras=True)
        properties.update({name: _schema(hints[name], nested) for name in hints})
        required |= part.__required_keys__
    return {**schema, "required": [name for name in properties if name in required]}


def _schema(hint: Any, nested: Callable[[type], Part] | None) -> Part:  # noqa: ANN401  # any annotation
    arguments = get_args(hint)
    match get_origin(hint):
        case typing.Annotated:
            schema = _schema(arguments[0], nested)
            for fact in hint.__metadata__:
                is_text = isinstance(fact, str)
                schema |= {"description": fact} if is_text else {"enum": list(fact)}
        case types.UnionType | typing.Union:
            schema = _nullable(_schema(arguments[0], nested))
        case abc.Mapping:
            values = _schema(arguments[1], nested)
            schema = {"type": "object", "additionalProperties": values}
        case abc.Sequence:
            schema = {"type": "array", "items": _schema(arguments[0], nested)}
        case _ if is_typeddict(hint):
            schema = nested(hint) if nested else object_schema([hint])
        case _:
            schema = dict(_PLAIN[hint])
    return schema


def _nullable(schema: Part) -> Part:
    if "type" in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}
