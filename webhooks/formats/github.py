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
from typing import Any

from webhooks.errors import InvalidSubscriptionError, RenderError
from webhooks.events import PING_EVENT_TYPE, Event
from webhooks.formats.contract import (
    EVENT_PAYLOAD,
    Format,
    Option,
    OptionKind,
    Options,
    Reader,
    Rendered,
    Selection,
    document_of,
    json_request,
    receipt_in,
    select,
    select_texts,
)
from webhooks.formats.writing import DEPLOYMENT_TOKEN, json_bytes, require_size

MAX_EVENT_TYPE_LENGTH = 100
MAX_PAYLOAD_NAMES = 10
MAX_INPUTS = 25
MAX_BYTES = 65_535

DEFAULT_INPUTS: Selection = {"event": "event", DEPLOYMENT_TOKEN: DEPLOYMENT_TOKEN}
_HEADERS = {
    "accept": "application/vnd.github+json",
    "x-github-api-version": "2022-11-28",
}


def _check(options: Options) -> dict[str, Any]:
    """Return the request, with selections where the event goes."""
    read = Reader(options)
    if read.choice("dispatch", "repository", "workflow") == "workflow":
        read.require_known("dispatch", "ref", "inputs", "return_run_details")
        ref = read.text("ref")
        inputs = read.selection("inputs", DEFAULT_INPUTS, maximum=MAX_INPUTS)
        is_answered = read.flag("return_run_details", default=True)
        more = {"return_run_details": True} if is_answered else {}
        return {"ref": ref, "inputs": inputs, **more}
    read.require_known("dispatch", "event_type", "payload")
    event_type = None
    if "event_type" in options:
        event_type = read.text("event_type", maximum=MAX_EVENT_TYPE_LENGTH)
    payload = read.selection("payload", EVENT_PAYLOAD, maximum=MAX_PAYLOAD_NAMES)
    return {"event_type": event_type, "client_payload": payload}


def _render(message_id: str, event: Event, options: Options) -> Rendered:
    request = _check(options)
    document = document_of(message_id, event)
    if "inputs" in request:
        filled = request["inputs"] = select_texts(request["inputs"], document)
    else:
        filled = request["client_payload"] = select(request["client_payload"], document)
        if request["event_type"] is None or event.type == PING_EVENT_TYPE:
            request["event_type"] = event.type
    require_size(json_bytes(filled), MAX_BYTES, "GitHub")
    if len(request.get("event_type", "")) > MAX_EVENT_TYPE_LENGTH:
        raise RenderError(
            f"GitHub takes event types of {MAX_EVENT_TYPE_LENGTH} characters"
        )
    return json_request(request, _HEADERS)


def _authorization(
    _options: Options, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    # Without a token GitHub would answer 404.
    if "token" not in credentials:
        raise InvalidSubscriptionError(
            "credentials", "the format github needs the credential 'token'"
        )
    return {"authorization": f"Bearer {credentials['token']}"}


FORMAT = Format(
    check=_check,
    render=_render,
    receipt=receipt_in("html_url", "run_url", "workflow_run_id"),
    authorization=_authorization,
    options={
        "dispatch": Option(
            OptionKind.CHOICE, "What the URL starts", ("repository", "workflow")
        ),
        "event_type": Option(
            OptionKind.TEXT, "repository: the type that it is told; else the event's"
        ),
        "payload": Option(
            OptionKind.SELECTION, "repository: the payload; else all of the event"
        ),
        "ref": Option(OptionKind.TEXT, "workflow: the branch or tag"),
        "inputs": Option(
            OptionKind.SELECTION, "workflow: its inputs; else event, deployment_token"
        ),
        "return_run_details": Option(
            OptionKind.FLAG, "workflow: whether to ask for the run's address"
        ),
    },
    credentials=("token",),
    example="https://api.github.com/repos/OWNER/REPO/dispatches",
)
