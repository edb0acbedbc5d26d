"""The OpenAPI document, completed in one pass from what the application knows.

flask-smorest writes paths, bodies and successful answers. What is the same for
every route is derived here, so that no route can forget it:

- the operation's id is the name of its view;
- who may call it follows from the permission that it declares;
- the errors it can end in follow from its permission, parameters and body;
- every error is a problem document, with the headers that come with its status.

Which conditional headers a route honours cannot be derived; ``_HEADERS`` lists
them, and the tests of the contract hold the list against the routes.
"""

from collections.abc import Iterator, Mapping, Sequence
from http import HTTPMethod, HTTPStatus
from typing import Any

from flask import Flask
from flask_smorest.spec.plugins import FlaskPlugin
from werkzeug.routing import Rule

from registry.api import event_types, json_schemas
from registry.api.openapi_examples import BODY_EXAMPLES
from registry.api.openapi_parts import (
    HEADER_PARAMETERS,
    IDEMPOTENCY_KEY,
    IF_MATCH,
    IF_NONE_MATCH,
    PATH_SCHEMAS,
    PREFER,
    RANGE,
    Part,
    error_responses,
    success_headers,
)
from registry.auth.permissions import Permission, permission_of
from registry.domain.roles import Action

_DESCRIPTION = """\
A model registry whose stage changes can be trusted.

- Sign in with `Authorization: Bearer <token>`, or HTTP Basic with the token as
  password. Each operation says which action it takes; a role is for some of them, on
  every model or on those whose name matches its pattern, and a token may be confined
  to scopes besides. `GET /whoami` says what the caller has.
- Errors are `application/problem+json` (RFC 9457); programs go by `type`.
- Lists come in pages: ask for `next_cursor` until it is null.
- What changes something honours `Idempotency-Key`.
- What is done because of a webhook passes its header `webhook-hop` on; too many hops
  from its origin a change is refused (409, `webhook-loop`), so that loops end.
"""

_HEADERS: Mapping[str, Sequence[str]] = {
    "get_version": [IF_NONE_MATCH],
    "update_version": [IF_MATCH],
    "delete_version": [IF_MATCH],
    "create_transition": [IF_MATCH],
    "download_file": [IF_NONE_MATCH, RANGE],
}
#: These change nothing that a repetition could change twice.
_WITHOUT_KEY = frozenset(
    {"check_upload", "create_upload", "upload_file", "test_webhook", "rehearse"}
    | {"exchange_token"}
)
_JSON = "application/json"
_SUCCESSES = frozenset({"2", "3"})


def completed(document: Part, app: Flask, *, stages: Sequence[str]) -> Part:
    """The document of this application; ``stages`` are those of its policy."""
    for rule, method in _documented(document, app):
        operation = document["paths"][_path(rule)][method.lower()]
        _complete(operation, rule, permission_of(app, rule.endpoint))
        _require_body(operation, document["components"]["schemas"])
    for item in document["paths"].values():
        _describe_path(item, stages)
    document["info"]["description"] = _DESCRIPTION
    components = document["components"]
    components["responses"] = {
        response.component: response.body for response in error_responses()
    }
    components["schemas"].pop("PaginationMetadata", None)  # we page by cursor
    schemas = components["schemas"]
    schemas.update(json_schemas.components())
    document["webhooks"] = {name: {"post": _sent(name)} for name in event_types.TYPES}
    to_stage = {"type": "string", "enum": list(stages)}
    for name in ("NewTransition", "NewRequest"):
        schemas[name]["properties"]["to_stage"] = to_stage
    for name, example in BODY_EXAMPLES.items():
        schemas[name]["example"] = example
    return document


def header_parameters() -> Part:
    """The parameters that operations refer to, as components."""
    return {
        name: {"in": "header", "name": name, **parameter}
        for name, parameter in HEADER_PARAMETERS.items()
    }


def _sent(event_type: str) -> Part:
    """What a webhook of the standard format receives of an event."""
    content = {_JSON: {"schema": event_types.schema_of(event_type)}}
    return {
        "summary": f"`{event_type}` happened.",
        "tags": ["webhooks"],
        "security": [],  # it is signed
        "requestBody": {"required": True, "content": content},
        "responses": {"2XX": {"description": "It is safe with the receiver"}},
    }


def _documented(document: Part, app: Flask) -> Iterator[tuple[Rule, str]]:
    for rule in app.url_map.iter_rules():
        for method in sorted(rule.methods or ()):
            if method.lower() in document["paths"].get(_path(rule), {}):
                yield rule, method


def _path(rule: Rule) -> str:
    path: str = FlaskPlugin.flaskpath2openapi(rule.rule)
    return path


def _complete(operation: Part, rule: Rule, permission: Permission | None) -> None:
    name = rule.endpoint.rpartition(".")[2]
    operation["operationId"] = name
    headers = list(_HEADERS.get(name, ()))
    changes = HTTPMethod.GET not in (rule.methods or ())
    if changes and name not in _WITHOUT_KEY:
        headers += [IDEMPOTENCY_KEY, PREFER]
    operation.setdefault("parameters", []).extend(
        {"$ref": f"#/components/parameters/{header}"} for header in headers
    )
    if permission is Permission.PUBLIC:
        operation["security"] = []
    _require_action(operation, permission)
    _complete_responses(operation, rule, permission, headers)


def _require_action(operation: Part, permission: Permission | None) -> None:
    action = permission.value if permission else None
    if isinstance(action, Action):
        own = operation.get("description", "")
        operation["description"] = f"{own}\n\nTakes who may *{action}*.".strip()


def _complete_responses(
    operation: Part,
    rule: Rule,
    permission: Permission | None,
    headers: Sequence[str],
) -> None:
    responses = operation["responses"]
    responses.pop("default", None)
    responses.pop("422", None)  # flask-smorest's, of the wrong media type
    possible = set(_possible_errors(operation, rule, permission, headers))
    for error in error_responses():
        status = str(error.status.value)
        if status in responses:
            described = responses[status].get("description")
            responses[status] = {**error.body, "description": described}
        elif error.status in possible:
            responses[status] = {"$ref": f"#/components/responses/{error.component}"}
    for status, response in responses.items():
        if status[0] in _SUCCESSES:
            success = success_headers(operation["operationId"], status, headers)
            response.setdefault("headers", {}).update(success)
    operation["responses"] = dict(sorted(responses.items()))


def _possible_errors(
    operation: Part,
    rule: Rule,
    permission: Permission | None,
    headers: Sequence[str],
) -> Iterator[HTTPStatus]:
    yield HTTPStatus.BAD_REQUEST
    yield from _sign_in_errors(permission)
    if rule.arguments:
        yield HTTPStatus.NOT_FOUND
    if rule.arguments or _has_query(operation):
        yield HTTPStatus.REQUEST_URI_TOO_LONG
    has_json = _JSON in operation.get("requestBody", {}).get("content", {})
    if has_json:
        yield HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        yield HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    if has_json or _is_checked(operation, headers) or "path" in rule.arguments:
        yield HTTPStatus.UNPROCESSABLE_ENTITY
    if IDEMPOTENCY_KEY in headers:
        yield HTTPStatus.CONFLICT
    if IF_MATCH in headers:
        yield HTTPStatus.PRECONDITION_FAILED


def _sign_in_errors(permission: Permission | None) -> Iterator[HTTPStatus]:
    if permission is Permission.PUBLIC:
        return
    yield HTTPStatus.UNAUTHORIZED
    yield HTTPStatus.FORBIDDEN
    yield HTTPStatus.TOO_MANY_REQUESTS
    yield HTTPStatus.SERVICE_UNAVAILABLE


def _is_checked(operation: Part, headers: Sequence[str]) -> bool:
    """Whether its query or headers can break a rule; caches' headers cannot."""
    return _has_query(operation) or bool({IDEMPOTENCY_KEY, IF_MATCH} & set(headers))


def _has_query(operation: Part) -> bool:
    """Whether it has parameters besides those in the path and the shared headers."""
    return any("$ref" not in entry for entry in operation["parameters"])


def _require_body(operation: Part, schemas: Part) -> None:
    """A body without a required member may be left out."""
    content = operation.get("requestBody", {}).get("content", {})
    if _JSON in content:
        name = content[_JSON]["schema"]["$ref"].rpartition("/")[2]
        operation["requestBody"]["required"] = "required" in schemas[name]


def _describe_path(item: dict[str, Any], stages: Sequence[str]) -> None:
    for parameter in item.get("parameters", ()):
        parameter.update(PATH_SCHEMAS.get(parameter["name"], {}))
    listed = [item, *(item[key] for key in item if key != "parameters")]
    for holder in listed:
        for parameter in holder.get("parameters", ()):
            if parameter.get("name") in {"stage", "to_stage"}:
                parameter["schema"] = {"type": "string", "enum": list(stages)}
