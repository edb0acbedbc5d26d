"""The ``github`` format: a ``repository_dispatch`` or a ``workflow_dispatch``.

Options:

- ``dispatch``: ``repository`` (default) or ``workflow``, to fit the URL,
  ``https://api.github.com/repos/OWNER/REPO/dispatches`` or
  ``…/actions/workflows/FILE/dispatches``.
- for ``repository``: ``event_type`` (default: the event's type) and ``payload``, a
  selection of at most ten names (default: id, type, timestamp, data and
  deployment_token). A ping always has its own type, so that a test deploys nothing.
- for ``workflow``: ``ref`` (a branch or tag), ``inputs``, a selection of at most 25
  names that the workflow declares (default: event, deployment_token), and
  ``return_run_details`` (default true; false for servers that do not know it).

The credential ``token`` becomes ``Authorization: Bearer``. Receipt: the address of
the workflow run. Source: GitHub REST API 2022-11-28, "Create a repository dispatch
event", "Create a workflow dispatch event".
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from webhooks.errors import InvalidSubscriptionError, RenderError
from webhooks.events import PING_EVENT_TYPE, Event
from webhooks.formats.contract import (
    Format,
    Options,
    Rendered,
    Selection,
    document_of,
    first_text,
    json_object,
    read_choice,
    read_flag,
    read_selection,
    read_text,
    require_known,
    select,
    select_texts,
)
from webhooks.formats.writing import (
    DEPLOYMENT_TOKEN,
    JSON_CONTENT_TYPE,
    json_bytes,
    require_size,
)

MAX_EVENT_TYPE_LENGTH = 100
MAX_PAYLOAD_NAMES = 10
MAX_INPUTS = 25
MAX_BYTES = 65_535
API_VERSION = "2022-11-28"

DEFAULT_PAYLOAD: Selection = MappingProxyType(
    {name: name for name in ("id", "type", "timestamp", "data", DEPLOYMENT_TOKEN)}
)
DEFAULT_INPUTS: Selection = MappingProxyType(
    {"event": "event", DEPLOYMENT_TOKEN: DEPLOYMENT_TOKEN}
)
_HEADERS = MappingProxyType(
    {"accept": "application/vnd.github+json", "x-github-api-version": API_VERSION}
)


@dataclass(frozen=True)
class _RepositoryDispatch:
    event_type: str | None
    payload: Selection


@dataclass(frozen=True)
class _WorkflowDispatch:
    ref: str
    inputs: Selection
    returns_run_details: bool


def check(options: Options) -> _RepositoryDispatch | _WorkflowDispatch:
    """Read the options.

    Raises:
        InvalidSubscriptionError: one is unknown, missing or of the wrong kind.
    """
    if read_choice(options, "dispatch", ("repository", "workflow")) == "workflow":
        require_known(options, "dispatch", "ref", "inputs", "return_run_details")
        return _WorkflowDispatch(
            read_text(options, "ref"),
            read_selection(options, "inputs", DEFAULT_INPUTS, maximum=MAX_INPUTS),
            read_flag(options, "return_run_details", default=True),
        )
    require_known(options, "dispatch", "event_type", "payload")
    return _RepositoryDispatch(
        read_text(options, "event_type", maximum=MAX_EVENT_TYPE_LENGTH)
        if "event_type" in options
        else None,
        read_selection(options, "payload", DEFAULT_PAYLOAD, maximum=MAX_PAYLOAD_NAMES),
    )


def render(message_id: str, event: Event, options: Options) -> Rendered:
    """Make the dispatch.

    Raises:
        RenderError: the type is too long for GitHub.
        OversizeError: the payload is.
    """
    chosen = check(options)
    document = document_of(message_id, event)
    if isinstance(chosen, _WorkflowDispatch):
        inputs = select_texts(chosen.inputs, document)
        require_size(json_bytes(inputs), MAX_BYTES, "GitHub")
        request: dict[str, object] = {"ref": chosen.ref, "inputs": inputs}
        if chosen.returns_run_details:
            request["return_run_details"] = True
    else:
        payload = select(chosen.payload, document)
        require_size(json_bytes(payload), MAX_BYTES, "GitHub")
        event_type = _event_type(chosen, event)
        request = {"event_type": event_type, "client_payload": payload}
    return Rendered(json_bytes(request), JSON_CONTENT_TYPE, dict(_HEADERS))


def _event_type(chosen: _RepositoryDispatch, event: Event) -> str:
    if chosen.event_type is not None and event.type != PING_EVENT_TYPE:
        return chosen.event_type
    if len(event.type) > MAX_EVENT_TYPE_LENGTH:
        raise RenderError(
            f"GitHub takes event types of {MAX_EVENT_TYPE_LENGTH} characters"
        )
    return event.type


def receipt(status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    """Find the workflow run that was started."""
    del status, headers
    answer = json_object(body)
    return first_text(
        answer.get("html_url"), answer.get("run_url"), answer.get("workflow_run_id")
    )


def authorization(
    options: Options, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    """Sign in with the token.

    Raises:
        InvalidSubscriptionError: there is none; GitHub would answer 404.
    """
    del options
    if "token" not in credentials:
        raise InvalidSubscriptionError(
            "credentials", "the format github needs the credential 'token'"
        )
    return {"authorization": f"Bearer {credentials['token']}"}


FORMAT = Format(
    check=check, render=render, receipt=receipt, authorization=authorization
)
