"""Every error as ``application/problem+json`` (RFC 9457), in one table.

``type`` is ``urn:stagegate:problem:<slug>``, stable for programs; ``detail`` is
for people; the error's facts are members beside them.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, cast

from flask import Flask, Response, g, json, request
from flask_smorest import Api
from marshmallow import fields
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from registry import errors
from registry.api.openapi_parts import MEDIA_TYPE
from registry.api.schemas.base import AnswerSchema
from registry.persistence.database import is_away

logger = logging.getLogger(__name__)

URN = "urn:stagegate:problem:"
#: The first class in this order that fits decides.
_STATUSES: Mapping[type[errors.RegistryError], HTTPStatus] = {
    errors.NotFoundError: HTTPStatus.NOT_FOUND,
    errors.ConflictError: HTTPStatus.CONFLICT,
    errors.CursorExpiredError: HTTPStatus.GONE,
    errors.StaleExpectationError: HTTPStatus.PRECONDITION_FAILED,
    errors.InvalidInputError: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.NotSignedInError: HTTPStatus.UNAUTHORIZED,
    errors.PermissionDeniedError: HTTPStatus.FORBIDDEN,
    errors.TooManyAttemptsError: HTTPStatus.TOO_MANY_REQUESTS,
    errors.ArtifactStoreError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.IdentityProviderError: HTTPStatus.SERVICE_UNAVAILABLE,
    errors.BusyError: HTTPStatus.SERVICE_UNAVAILABLE,
}
_SLUGS = {
    HTTPStatus.BAD_REQUEST: "malformed",
    HTTPStatus.NOT_FOUND: "not-found",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too-large",
    HTTPStatus.UNPROCESSABLE_ENTITY: "invalid",
}
_RETRY_AFTER_SECONDS = "2"


class ProblemSchema(AnswerSchema):
    """What went wrong."""

    type = fields.String(
        required=True, metadata={"description": f"{URN}<slug>, stable for programs"}
    )
    title = fields.String(required=True)
    status = fields.Integer(required=True)
    detail = fields.String(required=True)
    instance = fields.String()
    request_id = fields.String()
    errors = fields.Dict(metadata={"description": "what is wrong, by field"})
    from_stage = fields.String()
    to_stage = fields.String()
    allowed = fields.List(
        fields.String(), metadata={"description": "the stages that may be moved to"}
    )
    reasons = fields.List(
        fields.String(), metadata={"description": "why the policy refuses"}
    )
    differences = fields.List(
        fields.String(), metadata={"description": "how the artifact has changed"}
    )
    oldest_cursor = fields.String(
        metadata={"description": "from where on the feed of events is complete"}
    )


class ProblemApi(Api):
    """flask-smorest's Api, which describes our errors."""

    ERROR_SCHEMA = ProblemSchema


def register_problem_handlers(app: Flask) -> None:
    """Turn every error of this app into a problem document."""
    app.register_error_handler(Exception, problem_of)


def problem_of(error: Exception) -> Response:
    """Answer whatever was raised."""
    if isinstance(error, errors.RegistryError):
        return registry_problem(error)
    if isinstance(error, HTTPException):
        return http_problem(error)
    if isinstance(error, DBAPIError | PoolTimeoutError):
        return _database_problem(error)
    return _unexpected_problem(error)


def status_of(error: errors.RegistryError) -> HTTPStatus:
    """Return the status that an error of ours is answered with."""
    return next(
        (known for kind, known in _STATUSES.items() if isinstance(error, kind)),
        HTTPStatus.INTERNAL_SERVER_ERROR,
    )


def registry_problem(error: errors.RegistryError) -> Response:
    """Answer what our own code raises."""
    status = status_of(error)
    is_news = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if is_news and not isinstance(error, errors.BusyError):
        logger.error("request_failed request_id=%s", _request_id(), exc_info=error)
    answer = problem(status, error.slug, error.message, error.facts)
    if isinstance(error, errors.TooManyAttemptsError):
        answer.headers["Retry-After"] = str(error.retry_after_seconds)
    return answer


def http_problem(error: HTTPException) -> Response:
    """Answer what the HTTP layer raises, with webargs' messages by field."""
    if error.response is not None:  # a redirect, raised as Flask does
        return cast("Response", error.response)
    status = HTTPStatus(error.code or 500)
    data: Mapping[str, Any] = getattr(error, "data", None) or {}
    facts = {"errors": _by_field(data["messages"])} if data.get("messages") else {}
    slug = _SLUGS.get(status, status.phrase.lower().replace(" ", "-"))
    detail = "a value breaks a rule" if facts else error.description or status.phrase
    answer = problem(status, slug, detail, facts)
    for name, value in error.get_headers():
        if name.lower() not in {"content-type", "content-length"}:
            answer.headers[name] = value
    return answer


def _by_field(messages: Mapping[str, Any]) -> object:
    """Webargs nests messages by where the value stood; one place is the rule."""
    return next(iter(messages.values())) if len(messages) == 1 else messages


def _database_problem(error: Exception) -> Response:
    if isinstance(error, DBAPIError) and not is_away(error):
        return _unexpected_problem(error)
    logger.error("database_failed request_id=%s", _request_id(), exc_info=error)
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE, "unavailable", "the database did not answer"
    )


def _unexpected_problem(error: Exception) -> Response:
    logger.error("request_failed request_id=%s", _request_id(), exc_info=error)
    return problem(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "internal",
        "the registry failed; the log has the details under this request_id",
    )


def problem(
    status: HTTPStatus, slug: str, detail: str, facts: Mapping[str, Any] | None = None
) -> Response:
    """One problem document."""
    document = {
        "type": URN + slug,
        "title": status.phrase,
        "status": int(status),
        "detail": detail,
        "instance": request.path,
        "request_id": _request_id(),
        **(facts or {}),
    }
    answer = Response(json.dumps(document), status=status, mimetype=MEDIA_TYPE)
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="stagegate"'
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = _RETRY_AFTER_SECONDS
    return answer


def _request_id() -> str:
    request_id: str = g.get("request_id", "")
    return request_id
