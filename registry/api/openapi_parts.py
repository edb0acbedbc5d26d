"""What operations of the OpenAPI document share: headers and problem responses."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from registry.api.schemas.base import ARTIFACT_PATH
from registry.services.idempotency import KEY_PATTERN, MAX_KEY_CHARACTERS

Part = dict[str, Any]

MEDIA_TYPE = "application/problem+json"

IDEMPOTENCY_KEY = "Idempotency-Key"
IF_MATCH = "If-Match"
IF_NONE_MATCH = "If-None-Match"
PREFER = "Prefer"
RANGE = "Range"

#: Parameters that operations refer to.
HEADER_PARAMETERS: Mapping[str, Part] = {
    IDEMPOTENCY_KEY: {
        "description": "Sent again with the same key, a request is answered as the "
        "first time and changes nothing; kept for 24 hours.",
        "schema": {
            "type": "string",
            "pattern": f"^{KEY_PATTERN}$",
            "minLength": 1,
            "maxLength": MAX_KEY_CHARACTERS,
        },
    },
    PREFER: {
        "description": "`handling=lenient`: the `Idempotency-Key` stands for what is "
        "to be achieved; a repetition may differ in the rest, as in its reason.",
        "schema": {"type": "string"},
    },
    IF_MATCH: {
        "description": "The entity tag last seen, or *: refused with 412 when the "
        "version has changed since.",
        "schema": {"type": "string", "pattern": r'^(\*|"[!#-~]*")$'},
        "example": "*",
    },
    IF_NONE_MATCH: {
        "description": "Entity tags that the caller has: answered with 304 when one "
        "is the present one.",
        "schema": {"type": "string"},
    },
    RANGE: {
        "description": "One range of bytes, such as bytes=0-1023; anything else is "
        "answered with the whole file.",
        "schema": {"type": "string"},
    },
}

_OPAQUE = {"type": "string", "minLength": 1, "maxLength": 256}

#: What the converters of routing do not say of a parameter in the path.
PATH_SCHEMAS: Mapping[str, Part] = {
    "name": {"description": "The name of a model.", "example": "digits"},
    "number": {"description": "The number of a version.", "example": 1},
    "alias": {
        "example": "champion",
        "description": "An alias; `latest` and `v1`, `v2` … are reserved.",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": 255,
            "pattern": "^[A-Za-z0-9_-]+$",
            "not": {"pattern": "^([Ll][Aa][Tt][Ee][Ss][Tt]|[Vv][0-9]+)$"},
        },
    },
    "stage": {"description": "A stage of the policy, in any case."},
    "path": {
        "example": "model/model.pkl",
        "description": "The path of a file inside the artifact: relative, with / "
        "between its segments, none of them . or ..",
        "schema": {
            "type": "string",
            "minLength": 1,
            "maxLength": 1024,
            "pattern": ARTIFACT_PATH,
        },
    },
    "webhook_id": {"description": "The id of a subscription.", "schema": _OPAQUE},
    "delivery_id": {"description": "The id of a delivery.", "schema": _OPAQUE},
    "event_type": {
        "example": "model_version.stage_changed",
        "description": "A type of events.",
        "schema": _OPAQUE,
    },
    "publisher_id": {
        "description": "The id of a trusted publisher.",
        "schema": _OPAQUE,
    },
    "token_id": {"description": "The id of a token.", "schema": _OPAQUE},
}


def _header(description: str, *, required: bool = False, **schema: object) -> Part:
    part: Part = {"description": description, "schema": {"type": "string", **schema}}
    return {**part, "required": True} if required else part


_ETAG = _header("The entity tag", required=True, pattern='^"[^"]+"$')
_REPLAYED = _header("Present when an earlier answer was repeated", enum=["true"])
_FILE_HEADERS = {
    "ETag": _ETAG,
    "Repr-Digest": _header("The SHA-256 of the file, as RFC 9530 has it"),
    "Content-Disposition": _header("Always an attachment"),
    "Accept-Ranges": _header("bytes, where the file comes from here"),
}
_RANGE_HEADER = {"Content-Range": _header("The part sent, of how much", required=True)}
_LOCATION = {"Location": _header("Where the store serves it", required=True)}
_SUCCESS_HEADERS: Mapping[tuple[str, str], Part] = {
    ("get_version", "200"): {"ETag": _ETAG},
    ("get_version", "304"): {"ETag": _ETAG},
    ("download_file", "200"): _FILE_HEADERS,
    ("download_file", "206"): {**_FILE_HEADERS, **_RANGE_HEADER},
    ("download_file", "304"): {"ETag": _ETAG},
    ("download_file", "307"): {**_FILE_HEADERS, **_LOCATION},
}


def success_headers(operation: str, status: str, honoured: Sequence[str]) -> Part:
    """The headers that a successful answer comes with."""
    replayed = {"Idempotent-Replayed": _REPLAYED}
    return {
        **_SUCCESS_HEADERS.get((operation, status), {}),
        **(replayed if IDEMPOTENCY_KEY in honoured else {}),
    }


@dataclass(frozen=True)
class ErrorResponse:
    """A status that operations end in, and what it means everywhere."""

    status: HTTPStatus
    description: str
    media_type: str = MEDIA_TYPE

    @property
    def component(self) -> str:
        """The name that operations refer to it by."""
        return self.status.phrase.replace(" ", "")

    @property
    def body(self) -> Part:
        """The problem document and the headers that come with it."""
        schema = (
            {"$ref": "#/components/schemas/Problem"}
            if self.media_type == MEDIA_TYPE
            else {"type": "string"}
        )
        part: Part = {
            "description": self.description,
            "content": {self.media_type: {"schema": schema}},
        }
        headers = _ERROR_HEADERS.get(self.status)
        return {**part, "headers": headers} if headers else part


_RETRY_AFTER = {
    "Retry-After": _header("After how many seconds to try again", required=True)
}
_ERROR_HEADERS: Mapping[HTTPStatus, Part] = {
    HTTPStatus.UNAUTHORIZED: {
        "WWW-Authenticate": _header("How to sign in", required=True)
    },
    HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE: {
        "Content-Range": _header("The size of the file", required=True)
    },
    HTTPStatus.TOO_MANY_REQUESTS: _RETRY_AFTER,
    HTTPStatus.SERVICE_UNAVAILABLE: _RETRY_AFTER,
}
_ERRORS = (
    ErrorResponse(HTTPStatus.BAD_REQUEST, "Not a well-formed request"),
    ErrorResponse(HTTPStatus.UNAUTHORIZED, "No token, or not a valid one"),
    ErrorResponse(HTTPStatus.FORBIDDEN, "The caller may not do that to this model"),
    ErrorResponse(HTTPStatus.NOT_FOUND, "There is no such thing"),
    ErrorResponse(HTTPStatus.CONFLICT, "The present state does not allow it"),
    ErrorResponse(HTTPStatus.GONE, "What is asked for was removed"),
    ErrorResponse(HTTPStatus.PRECONDITION_FAILED, "Changed since the caller looked"),
    ErrorResponse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "The body is over the limit"),
    ErrorResponse(
        HTTPStatus.REQUEST_URI_TOO_LONG,
        "The address is over 8190 bytes; the HTTP server itself refuses it",
        media_type="text/html",
    ),
    ErrorResponse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The body is not JSON"),
    ErrorResponse(
        HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "The range lies beyond the file"
    ),
    ErrorResponse(HTTPStatus.UNPROCESSABLE_ENTITY, "A value breaks a rule"),
    ErrorResponse(HTTPStatus.TOO_MANY_REQUESTS, "Too many failed sign-ins from here"),
    ErrorResponse(HTTPStatus.SERVICE_UNAVAILABLE, "Database or store did not answer"),
)


def error_responses() -> Sequence[ErrorResponse]:
    """Every error that the document knows."""
    return _ERRORS
