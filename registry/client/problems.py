"""From an HTTP answer that is no success to an error of ``registry.errors``.

Rules:

- ``application/problem+json`` decides by the slug at the end of its ``type``
  (RFC 9457 §3.1.1); anything else, such as a proxy's page, by its status.
- A gateway's 502, 503 or 504 means that the registry was not reached.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import requests

from registry.addresses import masked
from registry.errors import (
    AliasRefusedError,
    ArtifactChangedError,
    ArtifactNotFoundError,
    ArtifactStoreError,
    BusyError,
    ConflictError,
    CursorExpiredError,
    IdempotencyMismatchError,
    InvalidInputError,
    NotFoundError,
    NotSignedInError,
    PermissionDeniedError,
    RegistryError,
    ServerUnreachableError,
    StaleExpectationError,
    TransitionRefusedError,
)

Problem = Mapping[str, Any]

PROBLEM_TYPE_PREFIX = "urn:stagegate:problem:"


class RejectedFieldsError(InvalidInputError):
    """The server rejects one or more values; names every field."""

    def __init__(self, message: str, errors: Mapping[str, Sequence[str]]) -> None:
        super().__init__(message, field=next(iter(errors), None))
        self.errors = {field: list(lines) for field, lines in errors.items()}

    @property
    def facts(self) -> Mapping[str, object]:
        """Every field with what is wrong about it."""
        return {"errors": self.errors} if self.errors else {}


def error_from(response: requests.Response) -> RegistryError:
    """Return the error an unsuccessful response stands for."""
    problem = _problem(response)
    if problem is None:
        return _error_by_status(response)
    slug = str(problem.get("type", "")).removeprefix(PROBLEM_TYPE_PREFIX)
    message = str(problem.get("detail") or problem.get("title") or "") or None
    return _BY_SLUG.get(slug, _unknown)(message, problem)


def _problem(response: requests.Response) -> Problem | None:
    """Return the problem document, or nothing when the body is something else."""
    media_type = response.headers.get("Content-Type", "").partition(";")[0].strip()
    if media_type not in {"application/problem+json", "application/json"}:
        return None
    try:
        document = response.json()
    except requests.exceptions.JSONDecodeError:
        return None
    return document if isinstance(document, dict) else None


def _unknown(message: str | None, _problem: Problem) -> RegistryError:
    return RegistryError(message or "The server reports a problem without a detail.")


def _refused(message: str | None, problem: Problem) -> RegistryError:
    return TransitionRefusedError(
        message or "The stage policy refuses this transition.",
        from_stage=str(problem.get("from_stage", "")),
        to_stage=str(problem.get("to_stage", "")),
        allowed=problem.get("allowed") or (),
        reasons=problem.get("reasons") or (),
    )


def _alias_refused(message: str | None, problem: Problem) -> RegistryError:
    return AliasRefusedError(
        message or "The stage policy refuses to point the alias there.",
        problem.get("reasons") or (),
    )


def _changed(message: str | None, problem: Problem) -> RegistryError:
    return ArtifactChangedError(
        message or "The artifact is not what was registered.",
        problem.get("differences") or (),
    )


def _invalid(message: str | None, problem: Problem) -> RegistryError:
    errors = _flat(problem.get("errors"))
    lines = [f"{field}: {' '.join(lines)}" for field, lines in errors.items()]
    head = message or "A value breaks a rule."
    missing = [line for line in lines if line.partition(": ")[2] not in head]
    return RejectedFieldsError("\n".join([head, *missing]), errors)


def _expired(message: str | None, problem: Problem) -> RegistryError:
    return CursorExpiredError(
        message or "Events behind this cursor were removed.",
        oldest_cursor=str(problem.get("oldest_cursor", "")),
    )


def _flat(errors: object, prefix: str = "") -> dict[str, list[str]]:
    """Field errors, however deep the validation nests them, by dotted name."""
    if isinstance(errors, Mapping):
        messages: dict[str, list[str]] = {}
        for name, inner in errors.items():
            messages |= _flat(inner, f"{prefix}.{name}" if prefix else str(name))
        return messages
    lines = errors if isinstance(errors, list) else [errors]
    return {prefix: [str(line) for line in lines]} if prefix else {}


def _plain(
    kind: Callable[[str | None], RegistryError],
) -> Callable[[str | None, Problem], RegistryError]:
    return lambda message, _problem: kind(message)


def _mismatch(message: str | None, _problem: Problem) -> RegistryError:
    return IdempotencyMismatchError(
        message or "This idempotency key was used with a different request."
    )


_BY_SLUG: Mapping[str, Callable[[str | None, Problem], RegistryError]] = {
    "not-found": _plain(NotFoundError),
    "artifact-not-found": _plain(ArtifactNotFoundError),
    "conflict": _plain(ConflictError),
    "webhook-loop": _plain(ConflictError),
    "transition-refused": _refused,
    "alias-refused": _alias_refused,
    "artifact-changed": _changed,
    "stale": _plain(StaleExpectationError),
    "cursor-expired": _expired,
    "invalid": _invalid,
    "malformed": _invalid,
    "too-large": _invalid,
    "idempotency-mismatch": _mismatch,
    "unauthenticated": _plain(NotSignedInError),
    "forbidden": _plain(PermissionDeniedError),
    "self-approval": _plain(PermissionDeniedError),
    "unavailable": _plain(ArtifactStoreError),
    "busy": _plain(BusyError),
}

_BY_STATUS: Mapping[int, Callable[[str | None], RegistryError]] = {
    401: NotSignedInError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    412: StaleExpectationError,
    502: ServerUnreachableError,
    503: ServerUnreachableError,
    504: ServerUnreachableError,
}


def _error_by_status(response: requests.Response) -> RegistryError:
    kind = _BY_STATUS.get(response.status_code, RegistryError)
    host = urlsplit(masked(response.url)).netloc
    return kind(
        f"{host} answered {response.status_code} {response.reason or ''}".rstrip()
        + ", which is no answer of a registry."
    )
