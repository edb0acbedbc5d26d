"""The ``jenkins`` format: the Generic Webhook Trigger plugin, or a job by name.

Options:

- ``trigger``: ``generic`` (default) or ``build``, to fit the URL,
  ``https://HOST/generic-webhook-trigger/invoke`` or
  ``https://HOST/job/NAME/buildWithParameters``.
- for ``generic``: ``payload``, a selection (default: id, type, timestamp, data and
  deployment_token); the job picks from it by JSONPath. The credential ``token``
  becomes the header ``token``. A ping is a dry run and starts nothing.
- for ``build``: ``user``, whose API token is the credential ``token``, and
  ``parameters``, a selection (default: WEBHOOK_ID, EVENT_TYPE, EVENT, the whole event
  as JSON, and DEPLOYMENT_TOKEN). An API token needs no crumb.

Receipt: the queue item. Sources: the plugin's README; Jenkins, "Remote access API".
"""

import base64
from collections.abc import Mapping

from webhooks.errors import InvalidSubscriptionError
from webhooks.events import PING_EVENT_TYPE, Event
from webhooks.formats.contract import (
    EVENT_PAYLOAD,
    EVENT_VARIABLES,
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
    refuse,
    select,
    select_texts,
)
from webhooks.formats.writing import MAX_VARIABLE_BYTES, require_size, require_variables

MAX_NAMES = 50
#: What the servlet container of Jenkins takes of a form.
MAX_FORM_BYTES = 200_000


def _check(options: Options) -> tuple[str | None, Selection]:
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


def _render(message_id: str, event: Event, options: Options) -> Rendered:
    user, selection = _check(options)
    document = document_of(message_id, event)
    if user is not None:
        parameters = select_texts(selection, document)
        require_variables(parameters.values())
        rendered = form_request(parameters)
        require_size(rendered.body, MAX_FORM_BYTES, "Jenkins")
        return rendered
    headers = {"gwt-dry-run": "true"} if event.type == PING_EVENT_TYPE else {}
    rendered = json_request(select(selection, document), headers)
    # A job may pick all of it as one variable.
    require_size(rendered.body, MAX_VARIABLE_BYTES, "Jenkins")
    return rendered


def _receipt(headers: Mapping[str, str], body: bytes) -> str | None:
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


def _authorization(
    options: Options, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    """Sign in as the user, or name the plugin's jobs by their token."""
    token = credentials.get("token")
    user, _ = _check(options)
    if user is None:
        return {} if token is None else {"token": token}
    if token is None:
        raise InvalidSubscriptionError(
            "credentials",
            "the format jenkins needs the credential 'token' to build a job",
        )
    pair = base64.b64encode(f"{user}:{token}".encode()).decode()
    return {"authorization": f"Basic {pair}"}


FORMAT = Format(
    check=_check,
    render=_render,
    receipt=_receipt,
    authorization=_authorization,
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
