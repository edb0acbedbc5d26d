"""The formats ``github``, ``gitlab`` and ``jenkins``: what starts a job of a CI system.

``github``: a ``repository_dispatch`` or a ``workflow_dispatch``, to fit the URL,
``https://api.github.com/repos/OWNER/REPO/dispatches`` or
``…/actions/workflows/FILE/dispatches``.

- A ping always has its own type, so that a test deploys nothing.
- ``inputs`` are names that the workflow declares. ``return_run_details`` is true unless
  it is refused, for servers that do not know it.
- The credential ``token`` becomes ``Authorization: Bearer``. Receipt: the address of
  the workflow run.

``gitlab``: a pipeline trigger, at ``https://HOST/api/v4/projects/ID/trigger/pipeline``.

- The credential ``token`` is the trigger token; it goes into the form and not into
  the URL, which servers log. Receipt: the address of the pipeline.

``jenkins``: the Generic Webhook Trigger plugin, or a job by name, to fit the URL,
``https://HOST/generic-webhook-trigger/invoke`` or
``https://HOST/job/NAME/buildWithParameters``.

- A job of the plugin picks from the payload by JSONPath. The credential ``token``
  becomes the header ``token``. A ping is a dry run and starts nothing.
- To build, the credential ``token`` is the API token of ``user``. It needs no crumb.
- Receipt: the queue item.

Sources: GitHub REST API 2022-11-28, "Create a repository dispatch event", "Create a
workflow dispatch event"; GitLab, "Pipeline trigger tokens API"; the README of Jenkins'
plugin; Jenkins, "Remote access API".
"""

import base64
import re
from collections.abc import Mapping
from typing import Any

from webhooks.errors import InvalidSubscriptionError, OversizeError, RenderError
from webhooks.events import PING_EVENT_TYPE, Event
from webhooks.formats.contract import (
    Format,
    Option,
    OptionKind,
    Options,
    Reader,
    Rendered,
    Selection,
    document_of,
    first_text,
    form_request,
    json_object,
    json_request,
    receipt_in,
    refuse,
    select,
    select_texts,
)
from webhooks.formats.writing import (
    DEPLOYMENT_TOKEN,
    Template,
    json_bytes,
    require_size,
)

#: The whole event for a job, as one document or as variables.
EVENT_PAYLOAD: Selection = {
    name: name for name in ("id", "type", "timestamp", "data", DEPLOYMENT_TOKEN)
}
EVENT_VARIABLES: Selection = {
    "WEBHOOK_ID": "id",
    "EVENT_TYPE": "type",
    "EVENT": "event",
    "DEPLOYMENT_TOKEN": DEPLOYMENT_TOKEN,
}
MAX_NAMES = 50
#: What a job can be given in one variable: Linux takes 128 KiB of it, name and all.
MAX_VARIABLE_BYTES = 100_000

GITHUB_INPUTS: Selection = {"event": "event", DEPLOYMENT_TOKEN: DEPLOYMENT_TOKEN}
MAX_GITHUB_EVENT_TYPE = 100
MAX_GITHUB_PAYLOAD_NAMES = 10
MAX_GITHUB_INPUTS = 25
MAX_GITHUB_BYTES = 65_535
_GITHUB_HEADERS = {
    "accept": "application/vnd.github+json",
    "x-github-api-version": "2022-11-28",
}

_GITLAB_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")

#: What the servlet container of Jenkins takes of a form.
MAX_JENKINS_FORM_BYTES = 200_000


def _variables(selection: Selection, message_id: str, event: Event) -> dict[str, str]:
    """Return what is selected of the event, as variables of a job.

    Raises:
        OversizeError: one is longer than a job can be given.
    """
    variables = select_texts(selection, document_of(message_id, event))
    for text in variables.values():
        size = len(text.encode())
        if size > MAX_VARIABLE_BYTES:
            raise OversizeError(size, MAX_VARIABLE_BYTES, "a variable of a job")
    return variables


def _check_github(options: Options) -> dict[str, Any]:
    """Return the request, with selections where the event goes."""
    read = Reader(options)
    if read.choice("dispatch", "repository", "workflow") == "workflow":
        read.require_known("dispatch", "ref", "inputs", "return_run_details")
        ref = read.text("ref")
        inputs = read.selection("inputs", GITHUB_INPUTS, maximum=MAX_GITHUB_INPUTS)
        is_answered = read.flag("return_run_details", default=True)
        more = {"return_run_details": True} if is_answered else {}
        return {"ref": ref, "inputs": inputs, **more}
    read.require_known("dispatch", "event_type", "payload")
    event_type = None
    if "event_type" in options:
        event_type = read.text("event_type", maximum=MAX_GITHUB_EVENT_TYPE)
    payload = read.selection("payload", EVENT_PAYLOAD, maximum=MAX_GITHUB_PAYLOAD_NAMES)
    return {"event_type": event_type, "client_payload": payload}


def _render_github(message_id: str, event: Event, options: Options) -> Rendered:
    request = _check_github(options)
    document = document_of(message_id, event)
    if "inputs" in request:
        filled = request["inputs"] = select_texts(request["inputs"], document)
    else:
        filled = request["client_payload"] = select(request["client_payload"], document)
        if request["event_type"] is None or event.type == PING_EVENT_TYPE:
            request["event_type"] = event.type
    require_size(json_bytes(filled), MAX_GITHUB_BYTES, "GitHub")
    if len(request.get("event_type", "")) > MAX_GITHUB_EVENT_TYPE:
        raise RenderError(
            f"GitHub takes event types of {MAX_GITHUB_EVENT_TYPE} characters"
        )
    return json_request(request, _GITHUB_HEADERS)


def _authorize_github(
    _options: Options, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    # Without a token GitHub would answer 404.
    if "token" not in credentials:
        raise InvalidSubscriptionError(
            "credentials", "the format github needs the credential 'token'"
        )
    return {"authorization": f"Bearer {credentials['token']}"}


GITHUB = Format(
    check=_check_github,
    render=_render_github,
    receipt=receipt_in("html_url", "run_url", "workflow_run_id"),
    authorization=_authorize_github,
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


def _check_gitlab(options: Options) -> tuple[str, Selection]:
    """Return ref and variables."""
    read = Reader(options)
    read.require_known("ref", "variables")
    variables = read.selection("variables", EVENT_VARIABLES, maximum=MAX_NAMES)
    for name in variables:
        if not _GITLAB_VARIABLE.fullmatch(name):
            refuse("variables", f"{name!r} is not a name for a CI/CD variable")
    return read.text("ref"), variables


def _render_gitlab(message_id: str, event: Event, options: Options) -> Rendered:
    ref, selection = _check_gitlab(options)
    values = _variables(selection, message_id, event)
    form = {f"variables[{name}]": value for name, value in values.items()}
    return form_request({"token": Template("${token}"), "ref": ref, **form})


GITLAB = Format(
    check=_check_gitlab,
    render=_render_gitlab,
    receipt=receipt_in("web_url", "id"),
    options={
        "ref": Option(OptionKind.TEXT, "The branch or tag whose pipeline runs"),
        "variables": Option(
            OptionKind.SELECTION,
            "Variables of the pipeline; else WEBHOOK_ID, EVENT_TYPE, EVENT and"
            " DEPLOYMENT_TOKEN",
        ),
    },
    credentials=("token",),
    example="https://gitlab.com/api/v4/projects/ID/trigger/pipeline",
)


def _check_jenkins(options: Options) -> tuple[str | None, Selection]:
    """Return the user who builds, None for the plugin, and what is told."""
    read = Reader(options)
    if read.choice("trigger", "generic", "build") == "generic":
        read.require_known("trigger", "payload")
        return None, read.selection("payload", EVENT_PAYLOAD, maximum=MAX_NAMES)
    read.require_known("trigger", "user", "parameters")
    user = read.text("user")
    if ":" in user:
        refuse("user", "must not contain ':'")
    return user, read.selection("parameters", EVENT_VARIABLES, maximum=MAX_NAMES)


def _render_jenkins(message_id: str, event: Event, options: Options) -> Rendered:
    user, selection = _check_jenkins(options)
    if user is not None:
        rendered = form_request(_variables(selection, message_id, event))
        require_size(rendered.body, MAX_JENKINS_FORM_BYTES, "Jenkins")
        return rendered
    payload = select(selection, document_of(message_id, event))
    headers = {"gwt-dry-run": "true"} if event.type == PING_EVENT_TYPE else {}
    rendered = json_request(payload, headers)
    # A job may pick all of it as one variable.
    require_size(rendered.body, MAX_VARIABLE_BYTES, "Jenkins")
    return rendered


def _find_queue_items(headers: Mapping[str, str], body: bytes) -> str | None:
    """Find the queue items: in the head for a job, in the answer for the plugin."""
    if "location" in headers:
        return first_text(headers["location"])
    jobs = json_object(body).get("jobs")
    items = [
        str(job["url"])
        for job in (jobs.values() if isinstance(jobs, dict) else ())
        if isinstance(job, dict) and job.get("triggered") is True and job.get("url")
    ]
    return first_text(" ".join(items))


def _authorize_jenkins(
    options: Options, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    """Sign in as the user, or name the plugin's jobs by their token."""
    token = credentials.get("token")
    user, _ = _check_jenkins(options)
    if user is None:
        return {} if token is None else {"token": token}
    if token is None:
        raise InvalidSubscriptionError(
            "credentials",
            "the format jenkins needs the credential 'token' to build a job",
        )
    pair = base64.b64encode(f"{user}:{token}".encode()).decode()
    return {"authorization": f"Basic {pair}"}


JENKINS = Format(
    check=_check_jenkins,
    render=_render_jenkins,
    receipt=_find_queue_items,
    authorization=_authorize_jenkins,
    options={
        "trigger": Option(
            OptionKind.CHOICE, "What the URL starts", ("generic", "build")
        ),
        "payload": Option(
            OptionKind.SELECTION, "generic: the payload; else all of the event"
        ),
        "user": Option(OptionKind.TEXT, "build: whose API token it is"),
        "parameters": Option(
            OptionKind.SELECTION,
            "build: the job's parameters; else WEBHOOK_ID, EVENT_TYPE, EVENT and"
            " DEPLOYMENT_TOKEN",
        ),
    },
    credentials=("token",),
    example="https://HOST/generic-webhook-trigger/invoke",
)
