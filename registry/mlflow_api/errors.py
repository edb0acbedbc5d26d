"""Every error as MLflow's clients read it: ``{"error_code", "message"}``.

Rules, as MLflow's server and clients have them:

- Clients take the code from the body and decide by the status whether to send
  the request again, for four minutes: a refusal is never answered 5xx, whatever
  status MLflow gives its code.
- Only what may go better in a moment is 503.
- Messages are MLflow's own where a program may have come to compare them.
"""

import logging
from collections.abc import Mapping
from http import HTTPStatus

from flask import Blueprint, Response, g, json
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.exceptions import HTTPException

from registry import errors
from registry.persistence.database import is_away, was_given_up

logger = logging.getLogger(__name__)

#: The first class in this order that fits decides.
_ANSWERS: Mapping[type[errors.RegistryError], tuple[HTTPStatus, str]] = {
    errors.AliasNotFoundError: (HTTPStatus.BAD_REQUEST, "INVALID_PARAMETER_VALUE"),
    errors.NotFoundError: (HTTPStatus.NOT_FOUND, "RESOURCE_DOES_NOT_EXIST"),
    errors.NameTakenError: (HTTPStatus.BAD_REQUEST, "RESOURCE_ALREADY_EXISTS"),
    errors.TransitionRefusedError: (
        HTTPStatus.BAD_REQUEST,
        "INVALID_STATE_TRANSITION",
    ),
    errors.DeletionRefusedError: (HTTPStatus.BAD_REQUEST, "INVALID_STATE"),
    errors.ConflictError: (HTTPStatus.CONFLICT, "RESOURCE_CONFLICT"),
    errors.StaleExpectationError: (HTTPStatus.CONFLICT, "RESOURCE_CONFLICT"),
    errors.InvalidInputError: (HTTPStatus.BAD_REQUEST, "INVALID_PARAMETER_VALUE"),
    errors.NotSignedInError: (HTTPStatus.UNAUTHORIZED, "UNAUTHENTICATED"),
    errors.PermissionDeniedError: (HTTPStatus.FORBIDDEN, "PERMISSION_DENIED"),
    errors.TooManyAttemptsError: (
        HTTPStatus.TOO_MANY_REQUESTS,
        "REQUEST_LIMIT_EXCEEDED",
    ),
    errors.ArtifactStoreError: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "TEMPORARILY_UNAVAILABLE",
    ),
    errors.IdentityProviderError: (
        HTTPStatus.SERVICE_UNAVAILABLE,
        "TEMPORARILY_UNAVAILABLE",
    ),
    errors.BusyError: (HTTPStatus.SERVICE_UNAVAILABLE, "TEMPORARILY_UNAVAILABLE"),
}
_RETRY_AFTER_SECONDS = "2"


class MlflowError(errors.RegistryError):
    """A refusal that only MLflow's protocol knows; never 5xx but for 501."""

    def __init__(
        self, code: str, message: str, *, status: HTTPStatus = HTTPStatus.BAD_REQUEST
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status


def register_handlers(blueprint: Blueprint) -> None:
    """Turn every error of this blueprint's routes into MLflow's shape."""
    blueprint.register_error_handler(errors.RegistryError, registry_error)
    blueprint.register_error_handler(DBAPIError, database_error)
    blueprint.register_error_handler(PoolTimeoutError, database_error)
    blueprint.register_error_handler(Exception, _unexpected_error)


def registry_error(error: errors.RegistryError) -> Response:
    """Answer what our own code raises."""
    if isinstance(error, MlflowError):
        return error_answer(error.status, error.code, error.message)
    status, code = next(
        (answer for kind, answer in _ANSWERS.items() if isinstance(error, kind)),
        (HTTPStatus.INTERNAL_SERVER_ERROR, "INTERNAL_ERROR"),
    )
    is_news = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    if is_news and not isinstance(error, errors.BusyError):
        _log("request_failed", error)
    answer = error_answer(status, code, _message(error))
    if isinstance(error, errors.TooManyAttemptsError):
        answer.headers["Retry-After"] = str(error.retry_after_seconds)
    return answer


def _message(error: errors.RegistryError) -> str:
    match error:
        case errors.ModelNotFoundError():
            return f"Registered Model with name={error.name} not found"
        case errors.VersionNotFoundError():
            return (
                f"Model Version (name={error.name}, version={error.number}) not found"
            )
        case errors.AliasNotFoundError():
            return f"Registered model alias {error.alias} not found."
        case errors.NameTakenError():
            kind = "Prompt" if error.is_prompt else "Registered Model"
            return f"{kind} (name={error.name}) already exists."
        case errors.InvalidInputError(field=str(field)):
            return f"Invalid value for parameter '{field}': {error.message}"
        case _:
            return error.message


def database_error(error: Exception) -> Response:
    """Answer that a database is away, takes no changes, or is kept busy by another."""
    if isinstance(error, DBAPIError) and not is_away(error):
        return _unexpected_error(error)
    _log("database_failed", error)
    return error_answer(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "TEMPORARILY_UNAVAILABLE",
        "the database did not answer",
    )


def search_error(error: OperationalError) -> Response:
    """Answer the same, but for a search that was given up: it would be no quicker."""
    if not was_given_up(error):
        return database_error(error)
    _log("search_given_up", error)
    return error_answer(
        HTTPStatus.BAD_REQUEST,
        "INVALID_PARAMETER_VALUE",
        "the search takes too long; narrow it",
    )


def _unexpected_error(error: Exception) -> Response:
    if isinstance(error, HTTPException):
        return _http_error(error)
    _log("request_failed", error)
    return error_answer(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "INTERNAL_ERROR",
        f"the registry failed; the log has the details under {_request_id()}",
    )


def _http_error(error: HTTPException) -> Response:
    """Answer what Flask raises while it reads a request."""
    status = HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR)
    return error_answer(status, "BAD_REQUEST", error.description or status.phrase)


def error_answer(status: HTTPStatus, code: str, message: str) -> Response:
    """One error, as MLflow's clients read it."""
    document = json.dumps({"error_code": code, "message": message})
    answer = Response(document, status=status, mimetype="application/json")
    if status == HTTPStatus.UNAUTHORIZED:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="stagegate"'
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = _RETRY_AFTER_SECONDS
    return answer


def _log(what: str, error: Exception) -> None:
    logger.error("%s request_id=%s", what, _request_id(), exc_info=error)


def _request_id() -> str:
    request_id: str = g.get("request_id", "")
    return request_id
