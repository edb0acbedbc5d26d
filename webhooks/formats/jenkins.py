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
from dataclasses import dataclass
from types import MappingProxyType

from webhooks.errors import InvalidSubscriptionError
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
    read_selection,
    read_text,
    require_known,
    select,
    select_texts,
)
from webhooks.formats.writing import (
    DEPLOYMENT_TOKEN,
    FORM_CONTENT_TYPE,
    JSON_CONTENT_TYPE,
    MAX_VARIABLE_BYTES,
    form_bytes,
    json_bytes,
    require_size,
    require_variables,
)

MAX_NAMES = 50
#: What the servlet container of Jenkins takes of a form.
MAX_FORM_BYTES = 200_000

DEFAULT_PAYLOAD: Selection = MappingProxyType(
    {name: name for name in ("id", "type", "timestamp", "data", DEPLOYMENT_TOKEN)}
)
DEFAULT_PARAMETERS: Selection = MappingProxyType(
    {
        "WEBHOOK_ID": "id",
        "EVENT_TYPE": "type",
        "EVENT": "event",
        "DEPLOYMENT_TOKEN": DEPLOYMENT_TOKEN,
    }
)


@dataclass(frozen=True)
class _GenericTrigger:
    payload: Selection


@dataclass(frozen=True)
class _Build:
    user: str
    parameters: Selection


def check(options: Options) -> _GenericTrigger | _Build:
    """Read the options.

    Raises:
        InvalidSubscriptionError: one is unknown, missing or of the wrong kind.
    """
    if read_choice(options, "trigger", ("generic", "build")) == "generic":
        require_known(options, "trigger", "payload")
        return _GenericTrigger(
            read_selection(options, "payload", DEFAULT_PAYLOAD, maximum=MAX_NAMES)
        )
    require_known(options, "trigger", "user", "parameters")
    user = read_text(options, "user")
    if ":" in user:
        raise InvalidSubscriptionError("options.user", "must not contain ':'")
    return _Build(
        user,
        read_selection(options, "parameters", DEFAULT_PARAMETERS, maximum=MAX_NAMES),
    )


def render(message_id: str, event: Event, options: Options) -> Rendered:
    """Make the request that starts a build.

    Raises:
        OversizeError: it is too long, or one parameter is.
    """
    chosen = check(options)
    document = document_of(message_id, event)
    if isinstance(chosen, _Build):
        parameters = select_texts(chosen.parameters, document)
        require_variables(parameters.values())
        body = form_bytes(list(parameters.items()))
        require_size(body, MAX_FORM_BYTES, "Jenkins")
        return Rendered(body, FORM_CONTENT_TYPE)
    body = json_bytes(select(chosen.payload, document))
    # A job may pick all of it as one variable.
    require_size(body, MAX_VARIABLE_BYTES, "Jenkins")
    headers = {"gwt-dry-run": "true"} if event.type == PING_EVENT_TYPE else {}
    return Rendered(body, JSON_CONTENT_TYPE, headers)


def receipt(status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    """Find the queue items: in the head for a job, in the answer for the plugin."""
    del status
    if "location" in headers:
        return first_text(headers["location"])
    jobs = json_object(body).get("jobs")
    if not isinstance(jobs, dict):
        return None
    items = [
        str(job["url"])
        for job in jobs.values()
        if isinstance(job, dict) and job.get("triggered") is True and job.get("url")
    ]
    return first_text(" ".join(items))


def authorization(
    options: Options, credentials: Mapping[str, str]
) -> Mapping[str, str]:
    """Sign in as the user, or name the plugin's jobs by their token.

    Raises:
        InvalidSubscriptionError: a job is to be built and there is no token.
    """
    token = credentials.get("token")
    chosen = check(options)
    if isinstance(chosen, _GenericTrigger):
        return {} if token is None else {"token": token}
    if token is None:
        raise InvalidSubscriptionError(
            "credentials",
            "the format jenkins needs the credential 'token' to build a job",
        )
    pair = base64.b64encode(f"{chosen.user}:{token}".encode()).decode()
    return {"authorization": f"Basic {pair}"}


FORMAT = Format(
    check=check, render=render, receipt=receipt, authorization=authorization
)
