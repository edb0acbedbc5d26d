"""The ``gitlab`` format: a pipeline trigger.

URL: ``https://HOST/api/v4/projects/ID/trigger/pipeline``. Options:

- ``ref``: the branch or tag whose pipeline runs.
- ``variables``: a selection (default: WEBHOOK_ID, EVENT_TYPE, EVENT, the whole event
  as JSON, and DEPLOYMENT_TOKEN).

The credential ``token`` is the trigger token; it goes into the form and not into
the URL, which servers log. Receipt: the address of the pipeline. Source: GitLab,
"Pipeline trigger tokens API".
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from webhooks.errors import InvalidSubscriptionError
from webhooks.events import Event
from webhooks.formats.contract import (
    Format,
    Options,
    Rendered,
    Selection,
    document_of,
    first_text,
    json_object,
    read_selection,
    read_text,
    require_known,
    select_texts,
)
from webhooks.formats.writing import (
    DEPLOYMENT_TOKEN,
    FORM_CONTENT_TYPE,
    Template,
    form_bytes,
    require_variables,
)

MAX_VARIABLES = 50
VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")

DEFAULT_VARIABLES: Selection = MappingProxyType(
    {
        "WEBHOOK_ID": "id",
        "EVENT_TYPE": "type",
        "EVENT": "event",
        "DEPLOYMENT_TOKEN": DEPLOYMENT_TOKEN,
    }
)
_TOKEN = Template("${token}")


@dataclass(frozen=True)
class _Trigger:
    ref: str
    variables: Selection


def check(options: Options) -> _Trigger:
    """Read the options.

    Raises:
        InvalidSubscriptionError: one is unknown, missing or of the wrong kind.
    """
    require_known(options, "ref", "variables")
    variables = read_selection(
        options, "variables", DEFAULT_VARIABLES, maximum=MAX_VARIABLES
    )
    for name in variables:
        if not VARIABLE_NAME.fullmatch(name):
            raise InvalidSubscriptionError(
                "options.variables", f"{name!r} is not a name for a CI/CD variable"
            )
    return _Trigger(read_text(options, "ref"), variables)


def render(message_id: str, event: Event, options: Options) -> Rendered:
    """Make the form.

    Raises:
        OversizeError: a variable is too long.
    """
    trigger = check(options)
    values = select_texts(trigger.variables, document_of(message_id, event))
    require_variables(values.values())
    body = form_bytes(
        [
            ("token", _TOKEN),
            ("ref", trigger.ref),
            *((f"variables[{name}]", value) for name, value in values.items()),
        ]
    )
    return Rendered(body, FORM_CONTENT_TYPE)


def receipt(status: int, headers: Mapping[str, str], body: bytes) -> str | None:
    """Find the pipeline that was started."""
    del status, headers
    answer = json_object(body)
    return first_text(answer.get("web_url"), answer.get("id"))


FORMAT = Format(check=check, render=render, receipt=receipt)
